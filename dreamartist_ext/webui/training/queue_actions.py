"""Trainings that wait their turn, as the Train page's buttons add them: one, or one for each picture."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...engine.errors import DreamArtistError, SettingError
from ...engine.names import name_of_file
from .job import Job
from .jobs import Desk, in_background
from .kinds import OPTION_FIELDS
from .live_view import message_html
from .name_check import name_said, template_of
from .picture_tray import items_of, saved_pictures
from .preparation import Drawn
from .sentences import place_of, sentence

PLACES = ("train", "name", "pictures", "settings")  # where the page says what speaks against a training


class WrongNameError(SettingError):
    """Is said beside the name, whatever it says."""


class QueueActions:
    """The part of the page's actions that fills the queue."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def values(self, name: str, start: str, options: Sequence[Any]) -> dict[str, Any]:
        given = dict(zip((item.name for item in OPTION_FIELDS), options, strict=True))
        given = {key: value for key, value in given.items() if value is not None}
        return given | {"name": name.strip(), "initialization_text": start.strip() or "*"}

    def add(
        self, tray: Any, name: str, start: str, overwrite: bool, previews: Sequence[Any], *options: Any
    ) -> list[str]:
        """As `train`, for a training that begins when those before it are over."""
        try:
            self._prepared(self.desk.enqueue, tray, self.values(name, start, options), overwrite, previews)
        except DreamArtistError as error:
            return said_at(error)
        self.go_on_with_queue()  # where the last training has ended meanwhile
        return [message_html(f"{name.strip()} is in the queue.", "good"), *[""] * (len(PLACES) - 1)]

    def each(
        self, tray: Any, _name: str, start: str, overwrite: bool, previews: Sequence[Any], *options: Any
    ) -> list[str]:
        """A training for each picture, of which each is named as its file is."""
        added, told = [], []
        try:
            items = items_of(tray)
        except DreamArtistError as error:
            return said_at(error)
        for item in items:
            file = str(item.get("name") or "picture")
            try:
                values = self.values(name_of_file(Path(file).stem), start, options)
                warning = name_said(self.desk.workplace, values["name"]).warning
                self._prepared(self.desk.enqueue, json.dumps([item]), values, overwrite, previews)
            except DreamArtistError as error:
                told.append(message_html(f"{file[:80]}: {sentence(error)}", "error"))
            else:
                added.append(values["name"])
                told.append(message_html(warning, "warning"))
        self.go_on_with_queue()
        said = message_html(f"In the queue: {', '.join(added)}.", "good") if added else ""
        return [said + "".join(told), *[""] * (len(PLACES) - 1)]

    def _prepared(
        self, prepare: Callable[..., Job], tray: Any, values: dict[str, Any], overwrite: bool, previews: Sequence[Any]
    ) -> Job:
        """As the desk's `prepare` or `enqueue` makes it of what the page holds; raises DreamArtistError."""
        with tempfile.TemporaryDirectory(prefix="dreamartist-") as folder:
            drawn = Drawn.read(previews)
            self._check_name(values, overwrite)
            return prepare(values, saved_pictures(tray, Path(folder)), overwrite, drawn=drawn)

    def go_on_with_queue(self) -> None:
        job = self.desk.next_in_queue() if self.desk.job is None or self.desk.job.is_over else None
        if job is not None:
            in_background(self.desk, job)

    def _check_name(self, values: dict[str, Any], overwrite: bool) -> None:
        """As while it is typed; a name that is taken may be replaced."""
        said = name_said(self.desk.workplace, values["name"], template_of(values))
        if said.problem and not (said.is_taken and overwrite):
            raise WrongNameError(said.problem)


def said_at(error: DreamArtistError) -> list[str]:
    """An error beside the part of the page that it is about; of a setting, with its name for the page's script."""
    place = "name" if isinstance(error, WrongNameError) else place_of(error)
    shown = message_html(sentence(error), "error")
    if place in ("train", "name", "pictures"):
        return [shown if each == place else "" for each in PLACES]
    return ["", "", "", f'<div data-field="{place}">{shown}</div>']
