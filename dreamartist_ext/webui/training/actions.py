"""What the Train page's buttons do, without gradio: every method returns the values of its outputs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ...engine.config import TrainConfig
from ...engine.errors import DreamArtistError
from ...engine.names import check_name
from ...files.settings_files import read_settings
from ...files.start import COUNTS, counts_of
from ...files.storage import find_embedding
from ..gradio_compat import NOTHING
from . import kinds
from .job import Ask
from .jobs import Desk, in_background
from .kept_pictures import given_pictures
from .kinds import OPTION_NAMES
from .live_view import masks_html, message_html
from .mask_preview import mask_previews
from .measuring import Measuring
from .memory_hint import MemoryHints
from .name_check import name_said
from .page_state import updates
from .picture_tray import items_of, saved_pictures
from .queue_actions import PLACES, QueueActions, said_at
from .recall import recalled, trainings_in, tray_of
from .sentences import sentence


class Actions(QueueActions):
    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.hints = MemoryHints()
        self.measuring = Measuring(desk)

    @property
    def model(self) -> dict[str, Any]:
        return self.desk.workplace.defaults

    def usual(self, kind: str = "thing", recipe: str = "") -> dict[str, Any]:
        return kinds.usual(self.model, kind, recipe)

    def choose(self, kind: str, label: str, before: Any, *options: Any) -> list[Any]:
        """After another kind or recipe: what is said of both, the usual values, what was chosen, and the settings that
        kinds and recipes differ in; others only where they change, so that what is typed meanwhile stays."""
        recipe = kinds.recipe_named(label)
        was = before if isinstance(before, list) and len(before) == 2 else ["thing", ""]
        given = dict(zip(OPTION_NAMES, options, strict=True))
        values = kinds.chosen(self.model, kind, recipe, was, given)
        values |= self._counts(str(values["start_from"]))
        told = kinds.differing(self.model) | {name for name in OPTION_NAMES if not _stays(values[name], given[name])}
        return [
            *self._about(kind, recipe),
            [kind, recipe],
            *(values[n] if n in told else NOTHING for n in OPTION_NAMES),
        ]

    def count_vectors(self, word: str) -> list[Any]:
        """The numbers of vectors that a training needs which goes on from this word; as they are where it has none."""
        counts = self._counts(word)
        return [counts.get(setting, NOTHING) for setting in COUNTS]

    def _counts(self, word: str) -> dict[str, int]:
        try:
            return counts_of(word, self.desk.workplace.embeddings)
        except DreamArtistError:  # while it is typed; Train says what is wrong with it
            return {}

    def _about(self, kind: str, recipe: str) -> list[Any]:
        usual = kinds.usual_html(self.model, kind, recipe)
        return [kinds.kind_html(kind), kinds.recipe_html(self.model, kind, recipe), usual]

    def set_back(self, wish: str, kind: str, label: str) -> list[Any]:
        """One setting (JSON: key, and a value or none for the usual one), or all of them, without a key."""
        asked = read_wish(wish)
        usual = self.usual(kind, kinds.recipe_named(label))
        if not asked["key"]:
            return [usual[name] for name in OPTION_NAMES]
        return [
            (asked["value"] or usual[name] if asked["value"] != "true" else True) if name == asked["key"] else NOTHING
            for name in OPTION_NAMES
        ]

    def check_word(self, name: str, template: str) -> list[Any]:
        """What there is to say of a name, and whether replacing is on offer."""
        name = name.strip()
        if not name:
            return ["", gr.update(visible=False, value=False)]
        job = self.desk.job
        said = name_said(self.desk.workplace, name, template, "" if job is None or job.is_over else job.name)
        box = gr.update(visible=True) if said.is_taken else gr.update(visible=False, value=False)
        return [said_html(said.problem, said.warning, name), box]

    def checked_values(self, name: str, start: str, options: Sequence[Any]) -> dict[str, Any]:
        """All settings as a training would have them; raises SettingError."""
        return self.desk.config(self.values(name or "x", start, options)).to_mapping()

    def train(
        self, tray: Any, name: str, start: str, overwrite: bool, previews: Sequence[Any], *options: Any
    ) -> list[str]:
        """Begin, and return what to say at each of PLACES; the training goes on in a thread of its own. `previews`:
        whether they are wanted, and their prompts and seeds as typed."""
        try:
            job = self._prepared(self.desk.prepare, tray, self.values(name, start, options), overwrite, previews)
        except DreamArtistError as error:
            return said_at(error)
        self.measuring.cancel()
        self.measuring.says = ""
        in_background(self.desk, job)
        return [""] * len(PLACES)

    def do(self, wish: str, shown: str | None = "") -> str:
        """What a button inside our own HTML asks for (JSON: do, key)."""
        asked, queue = read_wish(wish), self.desk.queue
        if asked["do"] == "queue_earlier":
            queue.earlier(asked["key"])
        elif asked["do"] == "queue_off":
            queue.call_off(asked["key"])
        elif asked["do"] == "queue_pause":
            queue.is_paused = not queue.is_paused
            self.go_on_with_queue()
        else:
            return self.use_step(wish, shown)
        return ""

    def resume(self, choice: str | None) -> str:
        if not choice:
            return message_html("Nothing to continue.", "error")
        try:
            in_background(self.desk, self.desk.prepare_continuation(choice))
        except DreamArtistError as error:
            return message_html(sentence(error), "error")
        return ""

    def keep(self, choice: str | None) -> str:
        """Make an unfinished training's pair usable as it is."""
        if not choice:
            return message_html("Nothing to keep.", "error")
        try:
            step = self.desk.keep_unfinished(choice)
        except DreamArtistError as error:
            return message_html(sentence(error), "error")
        return message_html(f"{choice} is kept as it was at step {step}.", "good")

    def discard(self, choice: str | None) -> str:
        if not choice:
            return message_html("Nothing to discard.", "error")
        try:
            self.desk.discard(choice)
        except DreamArtistError as error:
            return message_html(sentence(error), "error")
        return message_html(f"The unfinished training of {choice} is in the trash.")

    def undo_discard(self) -> str:
        try:
            name = self.desk.undo_discard()
        except DreamArtistError as error:
            return message_html(sentence(error), "error")
        return message_html(f"The training of {name} is back, among the unfinished ones.", "good")

    def ask(self, what: Ask) -> str:
        job = self.desk.job
        if job is None or job.is_over:
            return message_html("Nothing is being trained.", "error")
        job.ask(what)
        return ""

    def use_step(self, wish: str, shown: str | None = "") -> str:
        """Put the step of the training that is shown in use (JSON: key)."""
        job, step = self.desk.shown(shown or ""), read_wish(wish)["key"]
        if job is None or not step.isdecimal():
            return message_html("Choose a step first.", "error")
        try:
            self.desk.use_step(job.name, int(step))
        except DreamArtistError as error:
            return message_html(sentence(error), "error")
        return message_html(f"{job.name} is now the pair of step {step}.", "good")

    def show(self, wish: str) -> Any:
        """Choose the training that the page shows (JSON: key, its name)."""
        names = trainings_in(self.desk.workplace.embeddings)
        name = read_wish(wish)["key"]
        return gr.update(choices=names, value=name) if name in names else NOTHING

    def again(self, shown: str | None) -> list[Any]:
        """What to say; the tray, name, kind, recipe, what was chosen, start and settings of the training shown."""
        job = self.desk.shown(shown or "")
        if job is None:
            return self._unfilled()
        try:
            return self._filled(job.name, job.config, tray_of(job.files))
        except DreamArtistError as error:
            return self._unfilled(sentence(error))

    def again_of(self, wish: str) -> list[Any]:
        """As `again`, of a concept (JSON: key, its name): of its training here, or as its file says that it was."""
        name = read_wish(wish)["key"]
        try:
            files = self.desk.files(check_name(name))
            job = recalled(files)
            if job is not None:
                return self._filled(name, job.config, tray_of(files))
            path = find_embedding(files.out, name)
            if path is None:
                return self._unfilled()
            return self._filled(name, TrainConfig.from_mapping({**read_settings(path), "name": name}), [])
        except DreamArtistError as error:
            return self._unfilled(sentence(error))

    def _unfilled(self, why: str = "There is no training to take the settings from.") -> list[Any]:
        return [message_html(why, "error"), *[NOTHING] * (6 + len(OPTION_NAMES))]

    @staticmethod
    def _filled(name: str, config: TrainConfig, tray: list[dict[str, Any]]) -> list[Any]:
        values, kind = config.to_mapping(), kinds.kind_of(config.template)
        what = "the picture and the settings" if tray else "the settings, but no picture,"
        says = message_html(f"The form has {what} of {name}; give it another name.", "good")
        chosen = [json.dumps(tray), name, kind, kinds.RECIPE_LABELS[""], [kind, ""], values["initialization_text"]]
        return [says, *chosen, *(values[option] for option in OPTION_NAMES)]

    def estimate(self, tray: Any, name: str, start: str, *options: Any) -> str:
        """Begin to measure, or call off what is being measured."""
        if self.measuring.is_under_way:
            self.measuring.cancel()
            return self.measuring.html()
        try:
            self.measuring.begin(self.values(name or "estimate", start, options), max(1, len(items_of(tray))))
        except DreamArtistError as error:
            return message_html(sentence(error), "error")
        return self.measuring.html()

    def look(self, *options: Any) -> str:
        """What these settings will take, before anything is run; and for the page's script the model's own size."""
        values = {key: value for key, value in zip(OPTION_NAMES, options, strict=True) if value is not None}
        try:
            hint = self.hints.look(self.desk.workplace, values | {"name": "x"}, self.desk.pace)
        except DreamArtistError as error:
            return message_html(sentence(error), "error")
        if hint is None:
            return ""
        says = message_html(" ".join(filter(None, (hint.time_text(), hint.text()))))
        own = f'<i class="dreamartist-own" data-own="{hint.own}"></i>'
        return own + says + message_html(hint.size_text(), "warning")

    def spread(self, tray: Any, name: str, start: str, *options: Any) -> tuple[str, Any]:
        """The painted mask before and after it spreads; and how far that is, which the training then uses."""
        with tempfile.TemporaryDirectory(prefix="dreamartist-") as folder:
            try:
                paths = saved_pictures(tray, Path(folder))
                given_pictures(paths)
                values = self.values(name or "mask", start, options)
                painted, spread = mask_previews(self.desk, values, paths)
            except DreamArtistError as error:
                return message_html(sentence(error), "error"), NOTHING
        strength = float(values.get("spread_mask") or 1.0)
        return masks_html(painted, spread, strength), NOTHING if painted == spread else strength

    def refresh(self, seen: Any, shown: str | None = "") -> list[Any]:
        """What has changed since this page has last seen it: see `page_state.updates`."""
        return updates(self.desk, self.measuring, seen, shown or "")


def _stays(value: Any, given: Any) -> bool:
    """Whether a form's field need not be told this value; an emptied one has to be."""
    return given is not None and kinds.is_same(value, given)


def said_html(problem: str, warning: str, name: str) -> str:
    if problem:
        return message_html(sentence(DreamArtistError(problem)), "error")
    return message_html(warning, "warning") if warning else message_html(f"{name} is free.", "good")


def read_wish(wish: Any) -> dict[str, str]:
    """do, key and value, as texts; what a page did not send, or sent wrong, is empty."""
    try:
        asked = json.loads(wish or "{}")
    except (TypeError, ValueError, RecursionError):
        asked = {}
    asked = asked if isinstance(asked, dict) else {}
    return {name: str(asked.get(name) or "") for name in ("do", "key", "value")}
