"""Measuring how long a training will take, in a thread of its own: it can be watched and called off."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from ...engine.errors import DreamArtistError, StoppedError
from .jobs import Desk
from .live_view import duration, estimate_text, message_html
from .sentences import sentence


class Measuring:
    """At most one measurement at a time; whoever calls it off need not wait until it has noticed."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.began = 0.0  # of the one under way, 0 where there is none
        self.says = ""
        self._number = 0

    @property
    def is_under_way(self) -> bool:
        return bool(self.began)

    def begin(self, values: Mapping[str, Any], pictures: int) -> None:
        """Raises SettingError for settings that cannot be trained with, or while a training goes on."""
        self.desk.config(values)
        self.desk.check_idle()
        self._number += 1
        self.says, self.began = "", time.monotonic()
        arguments = (self._number, dict(values), pictures)
        threading.Thread(target=self._run, args=arguments, name="dreamartist measures", daemon=True).start()

    def cancel(self) -> None:
        self._number += 1
        self.says, self.began = message_html("Called off."), 0.0

    def _run(self, number: int, values: Mapping[str, Any], pictures: int) -> None:
        def check() -> None:
            if number != self._number:
                raise StoppedError("called off.")

        try:
            says = message_html(estimate_text(self.desk.measure(values, pictures, check)))
        except DreamArtistError as error:
            says = message_html(sentence(error), "error")
        except Exception as error:
            says = message_html(f"Measuring failed: {type(error).__name__}: {error}.", "error")
        if number == self._number:
            self.says, self.began = says, 0.0

    def html(self) -> str:
        """What is going on, for how long; or what was found."""
        began = self.began
        if not began:
            return self.says
        passed = duration(time.monotonic() - began)
        return message_html(f"Measuring a few steps on an empty picture: {passed} so far.")
