"""The sub-tab "My concepts": cards, and what can be done with each. The same in the WebUI and in `dreamartist serve`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from ..engine.errors import DreamArtistError
from .concept_view import STYLE, button, page_html, said
from .gradio_compat import on
from .jobs import Desk, sentence
from .live_view import message_html
from .shelf import Order, Shelf, Show

NO_FILES = gr.update(value=None, visible=False)


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
        """Do what a button in a card asks for (JSON: do, key, value, page); cards, what to say, files to save."""
        asked = read_wish(wish)
        number, files = asked["page"], NO_FILES
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
        return [self.look(words, show, order, number), says, files]

    def _delete(self, asked: dict[str, Any]) -> str:
        concept = self.shelf.find(asked["key"])
        place = self.shelf.delete(concept)
        return said(f"{printable(concept.name)} is in the trash.", "info", button("Undo", "undo", place_key(place.name)))

    def _undo(self, asked: dict[str, Any]) -> str:
        name = self.shelf.bring_back(asked["key"])
        return said(f"{printable(name)} is back.", "good")

    def _rename(self, asked: dict[str, Any]) -> str:
        concept = self.shelf.find(asked["key"])
        new = asked["value"].strip()
        self.shelf.rename(concept, new)
        return said(f"{printable(concept.name)} is called {new} now.", "good")

    def _reunite(self, asked: dict[str, Any]) -> str:
        name = self.shelf.reunite(self.shelf.find(asked["key"]), self.shelf.find(asked["value"]))
        return said(f"{printable(name)} is a pair again.", "good")
