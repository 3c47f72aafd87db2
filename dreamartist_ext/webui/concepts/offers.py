"""What was dropped on My concepts: shown first, with what speaks against it, and imported only when asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...engine.errors import SettingError
from ...engine.names import MAX_NAME_LENGTH
from ...files.card import PICTURE_SUFFIXES
from ...files.concepts.thumbnails import on_card
from ...files.importing import Offer, Refusal, look
from ...files.ordinary_words import warning_about
from ..gradio_compat import file_paths
from .view import attribute, button, text

MOST_FILES = 100
_HERE = "It is here already."


def offers_in(files: Any) -> tuple[list[Offer], list[Refusal]]:
    """What a File component holds, looked at anew each time: nothing is kept between a look and an import."""
    paths = file_paths(files)
    offers, refusals = look(paths[:MOST_FILES])
    if len(paths) > MOST_FILES:
        refusals.append(Refusal(f"{len(paths)} files", f"only the first {MOST_FILES} files are looked at."))
    return offers, refusals


def offer_at(files: Any, number: str) -> Offer:
    """Raises SettingError where the page shows another list than the server."""
    offers, _ = offers_in(files)
    if not number.isdecimal() or int(number) >= len(offers):
        raise SettingError("that file is not here any more; drop it again.")
    return offers[int(number)]


def picture_of(files: Any, offer: Offer) -> bytes:
    """The picture on the card that an offer comes from, as a PNG file; nothing where it comes from other files."""
    paths = [path for path in file_paths(files) if path.name == offer.sources[0]]
    return on_card(paths[0]) if paths and paths[0].suffix.lower() in PICTURE_SUFFIXES else b""


def offers_html(files: Any, folder: Path) -> str:
    """The offers with a name to give and a button each, and the sentences of what is refused."""
    offers, refusals = offers_in(files)
    parts = [_offer_html(offer, number, folder) for number, offer in enumerate(offers)]
    parts += [_warning_html(f"Refused: {each.sentence}") for each in refusals]
    return f'<div class="dreamartist-offers">{"".join(parts)}</div>' if parts else ""


def _warning_html(words: str) -> str:
    return f'<div class="dreamartist-warning">{text(words, 400)}</div>'


def _offer_html(offer: Offer, number: int, folder: Path) -> str:
    facts = [kind_of_offer(offer), offer.family, _count(offer), _about(offer)]
    head = f"<b>{text(' + '.join(offer.sources))}</b> {text(' · '.join(filter(None, facts)), 300)}"
    is_here = offer.is_here(folder)
    warnings = "".join(_warning_html(each) for each in ([_HERE] if is_here else warnings_of(offer, folder)))
    field = (
        f'<input type="text" value="{attribute(offer.name)}" maxlength="{MAX_NAME_LENGTH}" aria-label="name">'
        + button("Import", "import", str(number))
        + ("" if is_here or not offer.taken(folder) else button("Replace", "replace", str(number)))
    )
    return f'<div class="dreamartist-offer">{head}{warnings}<div class="dreamartist-form">{field}</div></div>'


def kind_of_offer(offer: Offer) -> str:
    """In words."""
    if offer.positive is not None and offer.negative is not None:
        return "a pair"
    if offer.positive is None:
        return "a negative half"
    return "a positive half" if offer.positive.provenance.get("pair") and not offer.is_plain else "a single embedding"


def _count(offer: Offer) -> str:
    halves = [half for half in (offer.positive, offer.negative) if half is not None]
    return " + ".join(str(len(next(iter(half.vectors.values())))) for half in halves) + " vectors"


def _about(offer: Offer) -> str:
    half = offer.positive or offer.negative
    if half is None:
        return ""
    model, made = half.provenance.get("model", ""), half.provenance.get("made", "")
    facts = (f"{half.step} steps" if half.step else "", f"learned on {model}" if model else "", made)
    return " · ".join(filter(None, facts))


def warnings_of(offer: Offer, folder: Path) -> list[str]:
    """What a user should know before importing."""
    found = []
    if kind_of_offer(offer) in ("a positive half", "a negative half"):
        found.append("The other half is not among these files; drop both together to get the pair.")
    if warning := warning_about(offer.name):
        found.append(warning)
    if "wide" in offer.family:
        found.append(f"No model in wide use has vectors {offer.family}.")
    if taken := offer.taken(folder):
        names = " and ".join(path.name for path in taken)
        found.append(f"{names} would be replaced, and kept in the trash; give another name to keep both.")
    return found
