"""The sub-tab "My concepts": cards, and what can be done with each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from ..engine.errors import DreamArtistError
from .concept_view import STYLE, button, page_html, plain, said
from .gradio_compat import on
from .jobs import Desk, sentence
from .live_view import message_html
from .shelf import Order, Shelf, Show


class ConceptActions:
    """What the buttons do, without gradio: every method returns the values of its outputs."""

    def __init__(self, desk: Desk) -> None:
        self.shelf = Shelf(desk)

    def look(self, words: str, show: str, order: str, number: int = 0) -> str:
        """The cards of a page."""
        try:
            page = self.shelf.page(words.strip(), Show(show), Order(order), number)
        except DreamArtistError as error:
            return message_html(sentence(error), "error")
        return page_html(page, Show(show), bool(words.strip()))

    def act(self, wish: str, words: str, show: str, order: str) -> list[Any]:
        """Do what a button in a card asks for (JSON: do, key, value, page); cards, and what to say."""
        asked = read_wish(wish)
        number = asked["page"]
        do: Callable[[dict[str, Any]], str] | None = {
            "delete": self._delete,
            "undo": self._undo,
            "rename": self._rename,
            "reunite": self._reunite,
        }.get(asked["do"])
        try:
            if asked["do"] == "page":
                number, says = int(asked["key"]) if asked["key"].isdecimal() else 0, ""
            else:
                says = do(asked) if do is not None else ""
        except DreamArtistError as error:
            says = said(sentence(error), "error")
        return [self.look(words, show, order, number), says]

    def _delete(self, asked: dict[str, Any]) -> str:
        concept = self.shelf.find(asked["key"])
        thrown = self.shelf.delete(concept)
        return said(f"{plain(concept.name)} is in the trash.", "info", button("Undo", "undo", thrown))

    def _undo(self, asked: dict[str, Any]) -> str:
        name = self.shelf.bring_back(asked["key"])
        return said(f"{plain(name)} is back.", "good")

    def _rename(self, asked: dict[str, Any]) -> str:
        concept = self.shelf.find(asked["key"])
        new = asked["value"].strip()
        self.shelf.rename(concept, new)
        return said(f"{plain(concept.name)} is called {new} now.", "good")

    def _reunite(self, asked: dict[str, Any]) -> str:
        name = self.shelf.reunite(self.shelf.find(asked["key"]), self.shelf.find(asked["value"]))
        return said(f"{plain(name)} is a pair again.", "good")


def read_wish(wish: str) -> dict[str, Any]:
    """do, key and value are texts, page a number; what a page did not send, or sent wrong, is empty."""
    try:
        asked = json.loads(wish or "{}")
    except (ValueError, RecursionError):
        asked = {}
    asked = asked if isinstance(asked, dict) else {}
    found: dict[str, Any] = {name: str(asked.get(name) or "") for name in ("do", "key", "value")}
    page = asked.get("page")
    return found | {"page": page if isinstance(page, int) else 0}


def build_concepts(desk: Desk, tab: Any) -> None:
    """Put "My concepts" into the tab that is open; it is brought up to date whenever the tab is opened."""
    actions = ConceptActions(desk)
    gr.HTML(STYLE)
    with gr.Row(elem_id="dreamartist_concepts_head"):
        words = gr.Textbox(label="Search", max_lines=1, elem_id="dreamartist_search")
        show = gr.Dropdown(
            [each.value for each in Show], value=Show.LEARNED.value, label="Show", elem_id="dreamartist_show"
        )
        order = gr.Dropdown(
            [each.value for each in Order], value=Order.NEWEST.value, label="Sort", elem_id="dreamartist_order"
        )
    says = gr.HTML(elem_id="dreamartist_concepts_says")
    cards = gr.HTML(elem_id="dreamartist_concepts")
    wish = gr.Textbox(elem_id="dreamartist_wish", elem_classes=["dreamartist-hidden"])
    do = gr.Button("do", elem_id="dreamartist_do", elem_classes=["dreamartist-hidden"])
    filters = [words, show, order]
    js = "(wish, ...others) => [dreamartistWish(), ...others]"
    on(do.click, actions.act, [wish, *filters], [cards, says], js=js, queue=False)
    for event in (tab.select, words.change, show.change, order.change):
        on(event, actions.look, filters, [cards], queue=False)
