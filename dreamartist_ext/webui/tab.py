"""The tab: three steps, and what is going on. Built by the same function in the WebUI and in `dreamartist serve`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ..engine.config import TrainConfig
from ..engine.errors import DreamArtistError
from ..engine.options import field_type
from ..files.presets import PRESET_HELP, PRESETS, kind_and_recipe, layered
from .compare.tab import build_comparison
from .concepts.share_view import trained_html
from .concepts.tab import build_concepts
from .concepts.view import STYLE as CONCEPT_STYLE
from .gradio_compat import NOTHING, file_paths, on, paintable_picture, picture_and_paint
from .training.job import Ask
from .training.jobs import Desk, in_background, sentence
from .training.kept_pictures import given_pictures
from .training.live_view import STYLE, estimate_text, masks_html, message_html, progress_html
from .training.mask_preview import mask_previews
from .training.memory_hint import MemoryHints
from .training.page_state import updates
from .training.settings_view import build_settings_files

NAMED_FIELDS = ("name", "initialization_text")  # asked for in step 2
OPTION_FIELDS = tuple(item for item in fields(TrainConfig) if item.name not in NAMED_FIELDS)
OPTION_NAMES = [item.name for item in OPTION_FIELDS]
MEMORY_SETTINGS = ("width", "height", "batch_size", "use_negative", "less_memory")  # what a step's memory depends on
UNPAINTED = 64  # the grey of what was not painted over: half of the weight that it has without a mask
DROPPED = "0000"  # the file name of the dropped picture, without a word in it: its name says nothing of it


class Actions:
    """What the buttons do, without gradio: every method returns the values of its outputs."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.hints = MemoryHints()

    def defaults(self, kind: str = "thing") -> dict[str, Any]:
        plain = {item.name: item.default for item in fields(TrainConfig)}
        return {**plain, **layered({}, self.desk.workplace.defaults, *kind_and_recipe(kind))}

    def choose_kind(self, kind: str) -> list[Any]:
        values = self.defaults(kind)
        return [values[item.name] for item in OPTION_FIELDS]

    def check_word(self, name: str) -> str:
        if not name:
            return ""
        problem = self.desk.check_word(name)
        return message_html(sentence(DreamArtistError(problem)), "error") if problem else message_html("Free.", "good")

    def values(self, name: str, start: str, options: Sequence[Any]) -> dict[str, Any]:
        given = dict(zip((item.name for item in OPTION_FIELDS), options, strict=True))
        given = {key: value for key, value in given.items() if value is not None}
        return given | {"name": name.strip(), "initialization_text": start.strip() or "*"}

    def checked_values(self, name: str, start: str, options: Sequence[Any]) -> dict[str, Any]:
        """All settings as a training would have them; raises SettingError."""
        return self.desk.config(self.values(name or "x", start, options)).to_mapping()

    def train(
        self, picture: Any, more: Any, name: str, start: str, overwrite: bool, previews: bool, *options: Any
    ) -> str:
        """Begin, and return what to say; the training goes on in a thread of its own."""
        with tempfile.TemporaryDirectory(prefix="dreamartist-") as folder:
            try:
                paths = [*saved_picture(picture, Path(folder)), *file_paths(more)]
                job = self.desk.prepare(self.values(name, start, options), paths, overwrite)
            except DreamArtistError as error:
                return message_html(sentence(error), "error")
        job.previews_wanted = previews
        in_background(self.desk, job)
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

    def use_step(self, step: Any) -> str:
        job = self.desk.job
        if job is None or not step:
            return message_html("Choose a step first.", "error")
        try:
            self.desk.use_step(job.name, int(str(step).split()[0]))
        except DreamArtistError as error:
            return message_html(sentence(error), "error")
        return message_html(f"{job.name} is now the pair of step {str(step).split()[0]}.", "good")

    def estimate(self, picture: Any, more: Any, name: str, start: str, *options: Any) -> str:
        """Time and memory from a few steps on this very machine; nothing is kept."""
        with tempfile.TemporaryDirectory(prefix="dreamartist-") as folder:
            try:
                paths = [*saved_picture(picture, Path(folder)), *file_paths(more)]
                pictures = max(1, len(given_pictures(paths)))
                found = self.desk.measure(self.values(name or "estimate", start, options), pictures)
            except DreamArtistError as error:
                return message_html(sentence(error), "error")
        return message_html(estimate_text(found))

    def memory(self, *options: Any) -> str:
        """What a step will keep with these settings, before anything is run."""
        try:
            return message_html(self.hints.look(self.desk.workplace, self.values("x", "*", options)))
        except DreamArtistError as error:
            return message_html(sentence(error), "error")

    def spread(self, picture: Any, more: Any, name: str, start: str, *options: Any) -> tuple[str, Any]:
        """The painted mask before and after it spreads; and how far that is, which the training then uses."""
        with tempfile.TemporaryDirectory(prefix="dreamartist-") as folder:
            try:
                paths = [*saved_picture(picture, Path(folder)), *file_paths(more)]
                values = self.values(name or "mask", start, options)
                painted, spread = mask_previews(self.desk, values, paths)
            except DreamArtistError as error:
                return message_html(sentence(error), "error"), NOTHING
        strength = float(values.get("spread_mask") or 1.0)
        return masks_html(painted, spread, strength), NOTHING if painted == spread else strength

    def share(self) -> str:
        """The card and the files of the concept that the page shows as trained."""
        return trained_html(self.desk)

    def refresh(self, seen: Any) -> list[Any]:
        """What has changed since this page has last seen it: see `page_state.updates`."""
        return updates(self.desk, seen)


def saved_picture(value: Any, folder: Path) -> list[Path]:
    """The dropped picture as a file, with its mask beside it where it was painted on."""
    picture, paint = picture_and_paint(value)
    if picture is None:
        return []
    path = folder / f"{DROPPED}.png"
    picture.save(path)
    if paint is not None:
        mask = paint.point(lambda grey: 255 if grey > 127 else UNPAINTED)
        Image.merge("RGB", [mask] * 3).save(folder / f"{DROPPED}_att.png")
    return [path]


def component_for(item: Field, value: Any) -> Any:
    """The input of one setting, with its help and unit."""
    about = item.metadata
    label = about["label"] + (f" ({about['unit']})" if about["unit"] else "")
    common: dict[str, Any] = {"label": label, "info": about["help"], "elem_id": f"dreamartist_{item.name}"}
    kind = field_type(item)
    if kind is bool:
        return gr.Checkbox(value=value, **common)
    if about["choices"]:
        return gr.Dropdown(choices=list(about["choices"]), value=value, **common)
    if kind is str:
        return gr.Textbox(value=value, max_lines=1, **common)
    return gr.Number(value=value, precision=0 if kind is int else None, **common)


def option_inputs(values: dict[str, Any]) -> list[Any]:
    """The inputs of every setting, in accordions by group, in the order of OPTION_FIELDS."""
    groups = dict.fromkeys(item.metadata["group"] for item in OPTION_FIELDS)
    made = {}
    for group in groups:
        with gr.Accordion(group.capitalize(), open=False):
            for item in OPTION_FIELDS:
                if item.metadata["group"] == group:
                    made[item.name] = component_for(item, values[item.name])
    return [made[item.name] for item in OPTION_FIELDS]


def build_tab(desk: Desk, use_label: str = "Use in txt2img") -> None:
    """Put the tab into the gradio Blocks that is open. `use_label`: where the page's prompt is."""
    gr.HTML(STYLE + CONCEPT_STYLE)
    with gr.Tabs(elem_id="dreamartist_tabs"):
        with gr.Tab("Train"):
            build_training(desk, use_label)
        with gr.Tab("My concepts") as concepts:
            build_concepts(desk, concepts)
        with gr.Tab("Compare") as compare:
            build_comparison(desk, compare)


def build_training(desk: Desk, use_label: str) -> None:
    """The sub-tab "Train", inside the tab that is open."""
    actions = Actions(desk)
    values = actions.defaults()
    with gr.Row(elem_id="dreamartist_tab"):
        with gr.Column(scale=1, min_width=320):
            picture = paintable_picture(
                "1  Picture: drop one; paint over what matters, if you like", "dreamartist_picture"
            )
            spread = gr.Button("Spread the painted mask", size="sm", elem_id="dreamartist_spread")
            spread_says = gr.HTML(elem_id="dreamartist_spread_says")
            with gr.Accordion("Several pictures of one concept", open=False):
                more = gr.File(
                    label="More pictures, with their captions NAME.txt and masks NAME_att.png, if any",
                    file_count="multiple",
                    elem_id="dreamartist_more",
                )
            name = gr.Textbox(label="2  Name", placeholder="mycat", max_lines=1, elem_id="dreamartist_name")
            name_says = gr.HTML(elem_id="dreamartist_name_says")
            kind = gr.Radio(list(PRESETS), value="thing", label="It is a", elem_id="dreamartist_kind")
            gr.HTML("; ".join(f"<b>{key}</b>: {text}" for key, text in PRESET_HELP.items()))
            start = gr.Textbox(
                value=values["initialization_text"],
                label="Starts from",
                info="A word for what it is, such as cat; * is neutral.",
                max_lines=1,
                elem_id="dreamartist_start",
            )
            with gr.Row():
                train = gr.Button("3  Train", variant="primary", elem_id="dreamartist_train")
                estimate = gr.Button("How long will it take?", elem_id="dreamartist_estimate")
            memory_says = gr.HTML(elem_id="dreamartist_memory")
            train_says = gr.HTML(elem_id="dreamartist_train_says")
            with gr.Accordion("All options", open=False, elem_id="dreamartist_options"):
                overwrite = gr.Checkbox(False, label="Replace a concept of this name", elem_id="dreamartist_overwrite")
                previews = gr.Checkbox(True, label="Previews at every check", elem_id="dreamartist_previews_on")
                options = option_inputs(values)
                build_settings_files(actions, name, start, options, OPTION_NAMES)
        with gr.Column(scale=1, min_width=320):
            live = gr.HTML(progress_html(desk.job), elem_id="dreamartist_live")
            with gr.Row(visible=False) as controls:
                stop = gr.Button("Stop, keep best", elem_id="dreamartist_stop")
                pause = gr.Button("Pause", elem_id="dreamartist_pause")
                discard = gr.Button("Discard", elem_id="dreamartist_discard")
            undo = gr.Button("Undo Discard", visible=False, elem_id="dreamartist_undo")
            with gr.Row(visible=False) as done:
                use = gr.Button(use_label, variant="primary", elem_id="dreamartist_use")
                share = gr.Button("Share as card", elem_id="dreamartist_share")
            shared = gr.HTML(elem_id="dreamartist_shared")
            curve = gr.HTML(elem_id="dreamartist_curve")
            shown = gr.HTML(elem_id="dreamartist_previews")
            with gr.Row(visible=False) as steps_row:
                step = gr.Dropdown(choices=[], label="Another step", elem_id="dreamartist_step")
                use_step = gr.Button("Use that step", elem_id="dreamartist_use_step")
            with gr.Accordion("Unfinished trainings", visible=False, elem_id="dreamartist_unfinished") as to_go_on:
                unfinished = gr.Dropdown(
                    choices=[], label="Nothing is unfinished", elem_id="dreamartist_unfinished_name"
                )
                with gr.Row():
                    resume = gr.Button("Continue", elem_id="dreamartist_continue")
                    keep = gr.Button("Keep as it is", elem_id="dreamartist_keep")
                    forget = gr.Button("Discard", elem_id="dreamartist_forget")
            says = gr.HTML(elem_id="dreamartist_says")
            refresh = gr.Button("refresh", elem_id="dreamartist_refresh", elem_classes=["dreamartist-hidden"])
            seen = gr.State({})

    on(name.change, actions.check_word, [name], [name_says], queue=False)
    on(kind.change, actions.choose_kind, [kind], options)
    on(train.click, actions.train, [picture, more, name, start, overwrite, previews, *options], [train_says])
    on(train.click, lambda: "", [], [name_says], queue=False)  # once it is trained, the name is free no more
    on(estimate.click, actions.estimate, [picture, more, name, start, *options], [train_says])
    for event in (picture.upload, *(options[OPTION_NAMES.index(setting)].change for setting in MEMORY_SETTINGS)):
        on(event, actions.memory, options, [memory_says], queue=False)
    spread_mask = options[OPTION_NAMES.index("spread_mask")]
    on(spread.click, actions.spread, [picture, more, name, start, *options], [spread_says, spread_mask])
    for button, what in ((stop, Ask.STOP), (pause, Ask.PAUSE), (discard, Ask.DISCARD)):
        on(button.click, lambda what=what: actions.ask(what), [], [says])
    on(use.click, None, [], [], js="() => dreamartistUse()")
    on(share.click, actions.share, [], [shared])
    for other in (train, resume, use_step):
        on(other.click, lambda: "", [], [shared], queue=False)  # what it shows is of the training or step before
    on(use_step.click, actions.use_step, [step], [says])
    on(resume.click, actions.resume, [unfinished], [says])
    on(keep.click, actions.keep, [unfinished], [says])
    on(forget.click, actions.discard, [unfinished], [says])
    on(undo.click, actions.undo_discard, [], [says])
    shown_parts = [live, curve, shown, step, steps_row, unfinished, controls, done, undo, to_go_on, seen]
    on(refresh.click, actions.refresh, [seen], shown_parts, queue=False)
