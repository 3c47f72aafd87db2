"""My concepts as HTML. Names and what files say of themselves are a stranger's: all of it is escaped, and a concept is
named to the page's script by its key alone."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from html import escape

from ...engine.names import NEGATIVE_SUFFIX
from ...files.concepts.index import Concept
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


def page_html(page: Page, show: Show, has_filter: bool) -> str:
    """Cards, or rows of the trash, and a way to the other pages."""
    if not page.found:
        return message_html(_nothing(show, has_filter))
    if show is Show.TRASH:
        body = "".join(_thrown_html(thrown) for thrown in page.thrown)
        return f'<div class="dreamartist-trash">{body}</div>{_pager(page)}'
    cards = "".join(card_html(card) for card in page.cards)
    return f'<div class="dreamartist-cards" data-page="{page.number}">{cards}</div>{_pager(page)}'


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


def card_html(card: Card) -> str:
    """One concept."""
    concept, facts = card.concept, card.facts
    family = f'<span class="dreamartist-family">{text(facts.family, 20)}</span>' if facts.family else ""
    parts = [
        f'<div class="dreamartist-picture">{_picture(card)}{family}</div>',
        f'<div class="dreamartist-name" title="{attribute(concept.name)}">{text(concept.name)}</div>',
        f'<div class="dreamartist-about">{_about(card)}</div>',
        _warning(card),
        f'<div class="dreamartist-buttons">{_buttons(card)}</div>',
    ]
    kind = " dreamartist-broken" if facts.problem or card.lacks or card.is_mixed else ""
    return f'<article class="dreamartist-card{kind}">{"".join(parts)}</article>'


def _picture(card: Card) -> str:
    name = card.concept.name
    if not card.preview:
        hue = int(card.concept.key[:4], 16) % 360
        letters = "".join(char for char in name if char.isalnum())[:2] or "?"
        return f'<div class="dreamartist-none" style="--hue:{hue}" aria-hidden="true">{escape(letters)}</div>'
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
    if model := facts.provenance.get("model", ""):
        lines.append(text(model, 60))
    if card.kept_steps:
        lines.append(f"{card.kept_steps} snapshots kept")
    return "".join(f"<div>{line}</div>" for line in lines)


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
    parts.append(_menu("Rename", _rename_form(concept)))
    parts.append(button("Delete", "delete", key))
    return "".join(parts)


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
