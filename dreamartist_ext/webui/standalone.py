"""`dreamartist serve`: the same tab on its own, with a place to try the learned words."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ..engine.errors import DreamArtistError
from ..evaluation.prompt_lists import EMBEDDED, GENERAL
from ..hosts.diffusers.generation import draw, with_learned_words
from ..hosts.diffusers.host import DiffusersHost
from ..hosts.diffusers.model_files import load_host, quiet_libraries, training_defaults
from ..hosts.packages import install
from .gradio_compat import MAJOR, gallery, on
from .tab import build_tab
from .training.jobs import Desk, sentence
from .training.live_view import message_html
from .workplace import TrainingHost

JAVASCRIPT = Path(__file__).parents[2] / "javascript"
TRY_STEPS = 25
TRY_GUIDANCE = 5.0


class StandaloneWorkplace:
    """A model of our own, loaded on first use; one training or picture at a time."""

    def __init__(self, embeddings: Path, model: Path | None, device: str, precision: str, clip_skip: int = 1) -> None:
        self.embeddings = embeddings
        self.has_cards = False
        self.templates: Path | None = None
        self.model, self.device, self.precision, self.clip_skip = model, device, precision, clip_skip
        self.defaults: dict[str, Any] = training_defaults(model)
        self.prompts = EMBEDDED if model is None else GENERAL
        self._turn = threading.Lock()

    @contextmanager
    def gpu(self, task: str) -> Iterator[None]:
        with self._turn:
            yield

    @contextmanager
    def glance(self) -> Iterator[TrainingHost | None]:
        if not self._turn.acquire(blocking=False):
            yield None
            return
        try:
            yield self.loaded
        finally:
            self._turn.release()

    @cached_property
    def loaded(self) -> DiffusersHost:
        quiet_libraries()
        return load_host(self.model, self.device, self.precision, self.clip_skip)

    def host(self) -> TrainingHost:
        return self.loaded

    def model_name(self) -> str:
        return "the embedded model" if self.model is None else self.model.name

    def chosen_model(self) -> str:
        return ""

    def interrupted(self) -> bool:
        return False

    def show(self, step: int, steps: int, text: str) -> None:
        """Nothing surrounds the tab here."""

    def learned(self) -> None:
        """Words are looked up in the folder at every picture."""

    def install(self, packages: Sequence[str]) -> None:
        install(packages)

    def clash(self, name: str) -> str:
        return ""

    def is_one_token(self, name: str) -> bool:
        return "loaded" in self.__dict__ and len(self.loaded.token_ids(name)) == 1


def try_prompt(
    workplace: StandaloneWorkplace, prompt: str, negative: str, count: float
) -> tuple[list[Image.Image], str]:
    """Pictures of a prompt, with the negatives of its learned words; and what was added, or what went wrong."""
    try:
        with workplace.gpu(""):
            words = with_learned_words(workplace.loaded, workplace.embeddings, prompt, negative)
            pictures = list(draw(workplace.loaded, words, range(int(count)), TRY_STEPS, TRY_GUIDANCE))
    except DreamArtistError as error:
        return [], message_html(sentence(error), "error")
    added = f"Added to the negative prompt: {', '.join(words.added)}." if words.added else "No learned word in it."
    return pictures, message_html(added)


def _script(*majors: int) -> dict[str, Any]:
    """The page's JavaScript, for the call that takes it in these versions of gradio."""
    files = sorted(JAVASCRIPT.glob("*.js"))
    scripts = "".join(f"<script>{file.read_text(encoding='utf-8')}</script>" for file in files)
    return {"head": scripts} if MAJOR in majors else {}


def build_page(desk: Desk, workplace: StandaloneWorkplace) -> gr.Blocks:
    """The tab, with a sub-tab for a prompt to try."""
    with gr.Blocks(analytics_enabled=False, title="DreamArtist", **_script(4, 5)) as page:
        gr.Markdown(f"# DreamArtist\nTeach one picture to {workplace.model_name()}; then type its name in a prompt.")
        build_tab(desk, "Try it", {"Try it": lambda: build_playground(desk, workplace)})
    return page


def build_playground(desk: Desk, workplace: StandaloneWorkplace) -> None:
    """A prompt, and what the model draws of it."""
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            prompt = gr.Textbox(label="Prompt", elem_id="dreamartist_try_prompt", max_lines=1)
            negative = gr.Textbox(label="Negative prompt", elem_id="dreamartist_try_negative", max_lines=1)
            count = gr.Slider(1, 8, 4, step=1, label="Pictures")
            button = gr.Button("Draw", variant="primary", elem_id="dreamartist_draw")
            says = gr.HTML(elem_id="dreamartist_try_says")
        with gr.Column(scale=2, min_width=280):
            drawn = gallery("Pictures", "dreamartist_gallery", columns=4)

    def draw_pictures(*values: Any) -> tuple[list[Image.Image], str]:
        return try_prompt(workplace, *values)

    def waiting() -> str:
        job = desk.job
        if job is None or job.is_over:
            return message_html("Drawing ...")
        return message_html(f"{job.name} is being trained: the pictures are drawn when that is over.")

    on(button.click, waiting, [], [says], queue=False)
    on(button.click, draw_pictures, [prompt, negative, count], [drawn, says], then="() => dreamartistAnswered()")


def serve(workplace: StandaloneWorkplace, port: int, open_browser: bool) -> None:
    """Show the page on this machine until Ctrl-C."""
    desk = Desk(workplace)
    desk.finish_interrupted()
    page = build_page(desk, workplace)
    page.launch(
        server_name="127.0.0.1",
        server_port=port,
        inbrowser=open_browser,
        share=False,
        quiet=True,
        allowed_paths=[],
        **_script(6),
    )
