"""My concepts as HTML. Names and what files say of themselves are a stranger's: all of it is escaped, and a concept is
named to the page's script by its key alone."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from html import escape

from ...engine.names import NEGATIVE_SUFFIX
from ...files.concepts.index import Concept, is_name
from ...files.concepts.trash import Thrown
from ..training.live_view import message_html
from .shelf import PAGE_SIZE, Card, Page, Show

LONGEST_NAME = 120  # characters that a page shows of any stranger's text


def plain(value: str, most: int = LONGEST_NAME) -> str:
    """A stranger's text, cut, and without characters that cannot be seen or turn others around."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in value[:most])
    return shown + ("…" if len(value) > most else "")


def text(value: str, most: int = LONGEST_NAME) -> str:
    """As `plain`, for a page: escaped, and its direction does not reach what stands beside it."""
    return f"<bdi>{escape(plain(value, most))}</bdi>"


def attribute(value: str) -> str:
    """As `plain`, inside the quotes of an attribute."""
    return escape(plain(value))


def prompt_word(name: str) -> str:
    """The name as it is typed in a prompt, or nothing where it cannot be typed."""
    return re.sub(r"[\\()\[\]]", r"\\\g<0>", name) if name.isprintable() else ""


def button(label: str, do: str, key: str, value: str = "") -> str:
    """On a click the page's script sends these three; without a value, what the field or list beside it holds."""
    given = f' data-value="{escape(value)}"' if value else ""
    return (
        f'<button type="button" class="dreamartist-do" data-dreamartist-do="{do}" data-key="{escape(key)}"{given}>'
        f"{escape(label)}</button>"
    )


def said(words: str, kind: str = "info", *buttons: str) -> str:
    """A message, and what can be done about it."""
    return f'<div class="dreamartist-message dreamartist-{kind}">{escape(words)} {"".join(buttons)}</div>'


def page_html(page: Page, show: Show, has_filter: bool, problem: tuple[str, str] = ("", "")) -> str:
    """Cards, or rows of the trash, and a way to the other pages. `problem`: a card's key, and what is said on it."""
    if not page.found:
        return message_html(_nothing(show, has_filter))
    if show is Show.TRASH:
        body = "".join(_thrown_html(thrown) for thrown in page.thrown)
        return f'<div class="dreamartist-trash">{body}</div>{_pager(page)}'
    cards = "".join(card_html(card, problem[1] if card.concept.key == problem[0] else "") for card in page.cards)
    return f'{_selected()}<div class="dreamartist-cards" data-page="{page.number}">{cards}</div>{_pager(page)}'


def _selected() -> str:
    """What can be done with several at once; the page's script shows it, and puts their keys in place of the star."""
    buttons = button("Share them", "share", "*") + button("Delete them", "delete", "*")
    return f'<div class="dreamartist-selected" role="status" hidden><span></span>{buttons}</div>'


def _nothing(show: Show, has_filter: bool) -> str:
    if has_filter:
        return "No name here holds these letters."
    return {
        Show.LEARNED: "Nothing is learned yet. Train a concept, and it is shown here.",
        Show.ALL: "The embeddings folder is empty.",
        Show.BROKEN: "Every pair is whole, and every file can be read.",
        Show.TRASH: "The trash is empty.",
    }[show]


def _pager(page: Page) -> str:
    first = page.number * PAGE_SIZE
    here = f"{first + 1} to {min(first + PAGE_SIZE, page.found)} of {page.found}"
    if page.pages == 1:
        return f'<div class="dreamartist-pager">{page.found} in all</div>'
    before = button("Previous", "page", str(page.number - 1)) if page.number else ""
    after = button("Next", "page", str(page.number + 1)) if page.number + 1 < page.pages else ""
    return f'<div class="dreamartist-pager">{before}<span>{here}</span>{after}</div>'


def _thrown_html(thrown: Thrown) -> str:
    when = thrown.when.strftime("%Y-%m-%d %H:%M")
    undo, how = button("Bring back", "undo", thrown.key), "replaced" if thrown.is_replaced else "deleted"
    return f"<div><b>{text(thrown.name)}</b><span>{how} {when}</span>{undo}</div>"


def card_html(card: Card, problem: str = "") -> str:
    """One concept, and what went wrong with what was asked of it."""
    concept, facts = card.concept, card.facts
    name = attribute(concept.name)
    select = f'<input type="checkbox" class="dreamartist-select" value="{concept.key}" aria-label="select {name}">'
    parts = [
        f'{select}<div class="dreamartist-picture">{_picture(card)}</div>',
        f'<div class="dreamartist-name" title="{attribute(concept.name)}">{text(concept.name)}</div>',
        f'<div class="dreamartist-about">{_about(card)}</div>',
        _warning(card),
        message_html(problem, "error"),
        f'<div class="dreamartist-buttons">{_buttons(card)}</div>',
    ]
    kind = " dreamartist-broken" if facts.problem or card.lacks or card.is_mixed else ""
    return f'<article class="dreamartist-card{kind}">{"".join(parts)}</article>'


def _picture(card: Card) -> str:
    name = card.concept.name
    if not card.preview:
        return '<div class="dreamartist-none">No drawing of it here.</div>'
    alt = f"what {name} was learned from" if card.is_of_picture else f"a picture drawn with {name}"
    note = "<small>learned from</small>" if card.is_of_picture else ""
    source = base64.b64encode(card.preview).decode()
    return f'<img decoding="async" src="data:image/jpeg;base64,{source}" alt="{attribute(alt)}">{note}'


def _about(card: Card) -> str:
    facts = card.facts
    when = datetime.fromtimestamp(card.concept.changed / 1e9).strftime("%Y-%m-%d")
    first = [when, size_text(card.concept.size)]
    if facts.step is not None and not facts.problem:
        first.insert(1, f"{facts.step} steps")
    lines = [" · ".join(first)]
    if facts.family:
        lines.insert(0, text(family_in_words(facts.family), 40))
    if model := facts.provenance.get("model", ""):
        lines.append(text(model, 60))
    if card.kept_steps:
        lines.append(f"{card.kept_steps} snapshots kept")
    return "".join(f"<div>{line}</div>" for line in lines)


def family_in_words(family: str) -> str:
    """Which models it is for."""
    if "wide" in family:
        return "for this model only"
    return "for " + family.replace("SD ", "Stable Diffusion ")


def size_text(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"


def _warning(card: Card) -> str:
    if card.facts.problem:
        return f'<div class="dreamartist-warning">Refused: {text(card.facts.problem, 300)}</div>'
    if card.is_mixed:
        return '<div class="dreamartist-warning">Its two halves were not learned together.</div>'
    if card.facts.packed and card.concept.negative is None:
        unpack = button("Unpack", "unpack", card.concept.key)
        return f'<div class="dreamartist-warning">A card: prompts find only its positive half. {unpack}</div>'
    if not card.lacks:
        return ""
    there = "negative" if card.lacks == "positive" else "positive"
    words = f"Only the {there} half is here."
    if not card.others:
        return (
            f'<div class="dreamartist-warning">{words} Put the {card.lacks} one into the folder to make it whole.</div>'
        )
    options = "".join(_option(concept, is_certain) for concept, is_certain in card.others)
    choice = f'<select aria-label="the {card.lacks} half">{options}</select>'
    reunite = button("Reunite", "reunite", card.concept.key)
    return (
        f'<div class="dreamartist-warning dreamartist-form">{words} '
        f"<label>Its {card.lacks} half is {choice}</label>{reunite}</div>"
    )


def _option(concept: Concept, is_certain: bool) -> str:
    note = " (same training)" if is_certain else ""
    return f'<option value="{concept.key}">{attribute(concept.name)}{note}</option>'


def _buttons(card: Card) -> str:
    concept, key = card.concept, card.concept.key
    word = prompt_word(concept.name)
    parts = []
    if concept.positive is not None and not card.facts.problem and word:
        parts.append(
            f'<button type="button" class="dreamartist-do dreamartist-main" data-dreamartist-word="{escape(word)}">'
            "Use</button>"
        )
        parts.append(button("Share", "share", key))
        if is_name(concept.name):
            parts.append(_go("Compare", "compare", concept.name))
            if card.kept_steps:
                parts.append(_go("Its training", "curve", concept.name))
    parts.append(_menu("Rename", _rename_form(concept)))
    parts.append(button("Delete", "delete", key))
    return "".join(parts)


def _go(label: str, where: str, name: str) -> str:
    """To another part of the page, with this concept chosen there."""
    return (
        f'<button type="button" class="dreamartist-do" data-dreamartist-go="{where}" data-name="{escape(name)}">'
        f"{label}</button>"
    )


def _rename_form(concept: Concept) -> str:
    name = concept.name
    if concept.positive is None and name.lower().endswith(NEGATIVE_SUFFIX):
        name = name[: -len(NEGATIVE_SUFFIX)]
    field = f'<input type="text" value="{attribute(name)}" maxlength="64" aria-label="new name">'
    return field + button("Rename", "rename", concept.key)


def _menu(label: str, content: str) -> str:
    return (
        f'<details class="dreamartist-menu" name="dreamartist-menu"><summary class="dreamartist-do">{label}</summary>'
        f'<div class="dreamartist-form">{content}</div></details>'
    )
