"""The sub-tab "My concepts": cards, and what can be done with each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from ...engine.errors import DreamArtistError
from ...files.importing import IMPORT_SUFFIXES
from ...files.ordinary_words import warning_about
from ..gradio_compat import NOTHING, on, on_change
from ..training.jobs import Desk, sentence
from ..training.live_view import beat_html, message_html
from .dropped import forget, saved_files
from .offers import offer_at, offers_html, picture_of
from .share_view import share_html
from .shelf import Order, Shelf, Show
from .view import button, page_html, plain, said

WITH_PAGE = "(wish, ...others) => [dreamartistShownPage(), ...others]"
WITH_FILES = "async (given, kept) => [await dreamartistDropped(), kept]"
DROP = f"""<label class="dreamartist-drop dreamartist-import"><input type="file" multiple aria-label="Files to import"
  accept="{",".join(IMPORT_SUFFIXES)}"><b>Drop cards or embedding files</b>
<span>or click to choose; a pair's two files together</span></label>"""


class ConceptActions:
    """What the buttons do, without gradio: every method returns the values of its outputs."""

    def __init__(self, desk: Desk) -> None:
        self.shelf = Shelf(desk)

    def look(self, words: str, show: str, order: str, number: int = 0, problem: tuple[str, str] = ("", "")) -> str:
        """The cards of a page; `problem` is said on the card of its key."""
        try:
            page = self.shelf.page(words.strip(), Show(show), Order(order), number)
        except DreamArtistError as error:
            return message_html(sentence(error), "error")
        return page_html(page, Show(show), bool(words.strip()), problem)

    def dropped(self, given: str, kept: Any) -> list[Any]:
        """What was dropped, to look at, and where it lies now; what lay there before is forgotten."""
        forget(kept or [])
        try:
            files = saved_files(given)
        except DreamArtistError as error:
            return [message_html(sentence(error), "error"), []]
        return [self.offered(files), files]

    def offered(self, files: Any) -> str:
        """What was dropped, to look at before anything is imported."""
        try:
            return offers_html(files, self.shelf.embeddings)
        except DreamArtistError as error:
            return message_html(sentence(error), "error")

    def act(self, wish: str, words: str, show: str, order: str, files: Any = None) -> list[Any]:
        """Do what a button asks for (JSON: do, key, value, page); cards, what to say, and what was dropped."""
        asked = read_wish(wish) | {"files": files}
        number = asked["page"]
        do: Callable[[dict[str, Any]], str] | None = {
            "delete": self._delete,
            "undo": self._undo,
            "rename": self._rename,
            "reunite": self._reunite,
            "share": self._share,
            "unpack": self._unpack,
            "draw": self._draw,
            "import": self._import,
            "replace": self._replace,
        }.get(asked["do"])
        problem = ("", "")
        try:
            if asked["do"] == "page":
                number, says = int(asked["key"]) if asked["key"].isdecimal() else 0, ""
            else:
                says = do(asked) if do is not None else ""
        except DreamArtistError as error:
            says, problem = "", (asked["key"], sentence(error))
        cards = self.look(words, show, order, number, problem)
        if problem[1] and f'value="{problem[0]}"' not in cards:  # it has no card here to say it on
            says = said(problem[1], "error")
        return [cards, says, self.offered(files)]

    def _delete(self, asked: dict[str, Any]) -> str:
        """One concept, or several, whose keys stand one after the other."""
        names, thrown = [], []
        for key in asked["key"].split():
            concept = self.shelf.find(key)
            thrown.append(self.shelf.delete(concept))
            names.append(plain(concept.name))
        verb = "is" if len(names) == 1 else "are"
        undo = button("Undo", "undo", " ".join(thrown))
        return said(f"{', '.join(names)} {verb} in the trash.", "info", undo) if names else ""

    def _draw(self, asked: dict[str, Any]) -> str:
        self.shelf.drawer.begin(self.shelf.find(asked["key"]))
        return ""

    def refresh(self, wish: str, words: str, show: str, order: str, seen: int) -> list[Any]:
        """What changed since this page last looked: the cards if a drawing was finished, a sign of life, and how many
        drawings are finished. `wish` is JSON with the shown page."""
        drawer = self.shelf.drawer
        beat, done = beat_html(bool(drawer.key), None), drawer.finished
        is_new = done != seen
        cards = self.look(words, show, order, read_wish(wish)["page"], drawer.problem) if is_new else NOTHING
        return [cards, beat, done]

    def _undo(self, asked: dict[str, Any]) -> str:
        names = [plain(self.shelf.bring_back(key)) for key in asked["key"].split()]
        return said(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} back.", "good")

    def _rename(self, asked: dict[str, Any]) -> str:
        concept = self.shelf.find(asked["key"])
        new = asked["value"].strip()
        self.shelf.rename(concept, new)
        warning = warning_about(new, self.shelf.desk.workplace.is_one_token(new))
        return said(f"{plain(concept.name)} is called {new} now. {warning}".strip(), "warning" if warning else "good")

    def _reunite(self, asked: dict[str, Any]) -> str:
        name = self.shelf.reunite(self.shelf.find(asked["key"]), self.shelf.find(asked["value"]))
        return said(f"{plain(name)} is a pair again.", "good")

    def _share(self, asked: dict[str, Any]) -> str:
        return "".join(share_html(self.shelf.share(self.shelf.find(key))) for key in asked["key"].split())

    def _unpack(self, asked: dict[str, Any]) -> str:
        """Both halves of a card that lies in the folder as files; the card is in the trash then."""
        card = self.shelf.find(asked["key"]).positive
        files = [str(card.path)] if card is not None and card.is_card else []
        offer = offer_at(files, "0")
        name = self.shelf.accept(offer, "", True, picture_of(files, offer))
        return said(f"{name} is unpacked: prompts find both of its halves.", "good")

    def _import(self, asked: dict[str, Any], overwrite: bool = False) -> str:
        files = asked["files"]
        offer = offer_at(files, asked["key"])
        name = self.shelf.accept(offer, asked["value"].strip(), overwrite, picture_of(files, offer))
        return said(f"{name} is here: type {name} in a prompt.", "good")

    def _replace(self, asked: dict[str, Any]) -> str:
        return self._import(asked, overwrite=True)


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
    with gr.Row(elem_id="dreamartist_concepts_head"):
        words = gr.Textbox(label="Search", max_lines=1, elem_id="dreamartist_search")
        show = gr.Dropdown(
            [each.value for each in Show], value=Show.LEARNED.value, label="Show", elem_id="dreamartist_show"
        )
        order = gr.Dropdown(
            [each.value for each in Order], value=Order.NEWEST.value, label="Sort", elem_id="dreamartist_order"
        )
    with gr.Accordion("Import a card or embedding files", open=False, elem_id="dreamartist_import"):
        gr.HTML(DROP, elem_id="dreamartist_dropped")
    given = gr.Textbox(elem_id="dreamartist_given", elem_classes=["dreamartist-hidden"], show_label=False)
    files = gr.State([])
    offers = gr.HTML(elem_id="dreamartist_offers")
    says = gr.HTML(elem_id="dreamartist_concepts_says")
    cards = gr.HTML(elem_id="dreamartist_concepts")
    wish = gr.Textbox(elem_id="dreamartist_wish", elem_classes=["dreamartist-hidden"])
    do = gr.Button("do", elem_id="dreamartist_do", elem_classes=["dreamartist-hidden"])
    offer = gr.Button("offer", elem_id="dreamartist_offer", elem_classes=["dreamartist-hidden"])
    look = gr.Button("look", elem_id="dreamartist_concepts_look", elem_classes=["dreamartist-hidden"])
    refresh = gr.Button("refresh", elem_id="dreamartist_concepts_refresh", elem_classes=["dreamartist-hidden"])
    beat = gr.HTML(elem_id="dreamartist_concepts_beat")
    seen = gr.State(0)
    filters = [words, show, order]
    js = "(wish, ...others) => [dreamartistWish(), ...others]"
    then = "() => dreamartistAnswered()"
    on(do.click, actions.act, [wish, *filters, files], [cards, says, offers], js=js, then=then, queue=False)
    on(refresh.click, actions.refresh, [wish, *filters, seen], [cards, beat, seen], js=WITH_PAGE, queue=False)
    on_change([], offer, actions.dropped, [given, files], [offers, files], js=WITH_FILES)
    on_change([each.change for each in filters], look, actions.look, filters, [cards])
    on(tab.select, actions.look, filters, [cards], queue=False)
