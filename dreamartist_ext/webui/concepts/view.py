"""My concepts as HTML. Names and what files say of themselves are a stranger's: all of it is escaped, and a concept is
named to the page's script by its key alone."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from html import escape

from ...engine.names import NEGATIVE_SUFFIX
from ...files.concepts.index import Concept, is_name, made_with
from ...files.pages import page as filled
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
    tools = {
        "about": about,
        "base64": lambda picture: base64.b64encode(picture).decode(),
        "is_name": is_name,
        "is_drawable": is_drawable,
        "is_trainable": lambda card: card.concept.is_trained or bool(made_with(card.facts)),
        "plain": plain,
        "positive_word": positive_word,
        "prompt_word": prompt_word,
    }
    is_trash = show is Show.TRASH
    return filled("page/concepts.html.j2", page=page, is_trash=is_trash, problem=problem, size=PAGE_SIZE, **tools)


def is_drawable(card: Card) -> bool:
    """A card's picture can be made where its word can be typed."""
    return card.concept.positive is not None and not card.facts.problem and is_name(card.concept.name)


def _nothing(show: Show, has_filter: bool) -> str:
    if has_filter:
        return "No name contains these letters."
    return {
        Show.LEARNED: "Nothing is learned yet. Train a concept, and it is shown here.",
        Show.ALL: "The embeddings folder is empty.",
        Show.BROKEN: "Every pair is whole, and every file can be read.",
        Show.TRASH: "The trash is empty.",
    }[show]


def about(card: Card) -> list[tuple[str, bool, int]]:
    """The lines of a card, whether each is a stranger's, and how much of it is shown."""
    facts = card.facts
    when = datetime.fromtimestamp(card.concept.changed / 1e9).strftime("%Y-%m-%d")
    first = [when, size_text(card.concept.size)]
    if facts.step is not None and not facts.problem:
        first.insert(1, f"{facts.step} steps")
    lines = [(" · ".join(first), False, 0)]
    if facts.family:
        lines.insert(0, (family_in_words(facts.family), True, 40))
    if model := facts.provenance.get("model", ""):
        lines.append((model, True, 60))
    if card.kept_steps:
        lines.append((f"{card.kept_steps} snapshots kept", False, 0))
    return lines


def positive_word(concept: Concept) -> str:
    """What a concept is renamed from: a negative half on its own loses its ending."""
    name = concept.name
    if concept.positive is None and name.lower().endswith(NEGATIVE_SUFFIX):
        return name[: -len(NEGATIVE_SUFFIX)]
    return name


def family_in_words(family: str) -> str:
    """Which models it is for."""
    if "wide" in family:
        return "for this model only"
    return "for " + family.replace("SD ", "Stable Diffusion ")


def size_text(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
