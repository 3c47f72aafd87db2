"""What My concepts shows for sharing: the card, and links that save each file in the browser."""

from __future__ import annotations

import base64
import mimetypes
from html import escape

from ...engine.errors import DreamArtistError
from ...files.concepts.sharing import files_to_share
from ...files.concepts.trash import find_concept
from ..training.jobs import Desk, sentence
from ..training.live_view import message_html
from .view import text


def trained_html(desk: Desk, name: str = "") -> str:
    """As `share_html`, of the training that the page shows; what stands against it in a sentence."""
    job, embeddings = desk.shown(name), desk.workplace.embeddings
    if job is None:
        return message_html("Nothing is trained yet.", "error")
    try:
        return share_html(files_to_share(embeddings, find_concept(embeddings, job.name)))
    except DreamArtistError as error:
        return message_html(sentence(error), "error")


def share_html(files: dict[str, bytes]) -> str:
    """The card to look at, and links that save each file: nothing is written on the server."""
    name, card = next(iter(files.items()))
    links = "".join(_link(name, content) for name, content in files.items())
    return (
        f'<div class="dreamartist-share"><img src="{_data_url(name, card)}" alt="the card">'
        f"<div><p>The card holds the whole concept: whoever drops it on My concepts gets both halves. A WebUI without "
        f"DreamArtist reads only the positive half. Send the file itself, for example in a ZIP: a website that "
        f"compresses pictures destroys the concept in it.</p><p>Save {links}</p></div></div>"
    )


def _link(name: str, content: bytes) -> str:
    return f'<a class="dreamartist-do" download="{escape(name)}" href="{_data_url(name, content)}">{text(name)}</a> '


def _data_url(name: str, content: bytes) -> str:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
