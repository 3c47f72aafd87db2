"""The script of txt2img and img2img that completes the negative prompts: `script_class` makes it of the WebUI's own.

It works in `process_batch`: the last call before the prompts are encoded, after styles, comments, wildcards and extra
networks, in AUTOMATIC1111, Forge, reForge, Forge Classic and SD.Next alike. The WebUI's modules are imported on use.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from html import escape
from typing import Any

from .prompt_hook import (
    Effective,
    LearnedWord,
    PromptLanguage,
    Steps,
    WordIndex,
    describe,
    effective_negative,
    even_chunks,
)
from .second_model import fits, hires_is_later, watch

logger = logging.getLogger(__name__)

TITLE = "DreamArtist"  # of the accordion, in the API's alwayson_scripts, and of the line in the infotext
STRENGTH = "dreamartist_strength"  # attribute of `p` by which others (X/Y/Z plot) set the strength of one picture
MEMORY = "dreamartist_added"  # attribute of `p`: what was added to which prompts, for a second call on the same `p`


def script_class(scripts: Any) -> type:
    """The class to register; `scripts` is the WebUI's module of that name."""

    class DreamArtistScript(PromptHook, scripts.Script):
        def show(self, is_img2img: bool) -> Any:
            return scripts.AlwaysVisible

    return DreamArtistScript


class PromptHook:
    """What the script does, apart from being one."""

    is_img2img: bool
    elem_id: Callable[[str], str]
    _line: Any = None
    _last = ""

    def title(self) -> str:
        return TITLE

    def ui(self, is_img2img: bool) -> list[Any]:
        import gradio as gr

        with gr.Accordion(TITLE, open=False, elem_id=self.elem_id("accordion")):
            enabled = gr.Checkbox(
                value=True, label="Put the negatives of learned words into prompts", elem_id=self.elem_id("enabled")
            )
            strength = gr.Slider(
                minimum=0,
                maximum=2,
                step=0.05,
                value=1,
                label="Strength of these negatives",
                info="Times the strength in Settings; 0 adds nothing.",
                elem_id=self.elem_id("strength"),
            )
            self._line = gr.HTML(value=self._said(), elem_id=self.elem_id("added"))
        return [enabled, strength]

    def after_component(self, component: Any, **kwargs: Any) -> None:
        """A new picture's text comes last, so that the accordion can then say what was added to it."""
        tab = "img2img" if self.is_img2img else "txt2img"
        if kwargs.get("elem_id") == f"html_info_{tab}" and self._line is not None and hasattr(component, "change"):
            component.change(fn=self._said, inputs=[], outputs=[self._line], show_progress=False, queue=False)

    def process_batch(self, p: Any, enabled: bool | None = True, strength: float | None = 1.0, **kwargs: Any) -> None:
        p.extra_generation_params.pop(TITLE, None)  # copies of `p` share it
        wishes = Wishes.read(enabled is not False, 1.0 if strength is None else strength, getattr(p, STRENGTH, None))
        host = find_host() if wishes.strength else None
        self._last, batch = "", None
        if host is not None:
            number = kwargs.get("batch_number")
            batch = Batch(p, host, wishes, (p.iteration if number is None else number) * p.batch_size)
            self._last = batch.complete()
        watch(p, batch)

    def _said(self) -> str:
        return f"<p>Added last: {escape(self._last) or 'nothing'}.</p>"


@dataclass(frozen=True)
class Wishes:
    """The accordion's values and the settings', as one."""

    strength: float
    off: frozenset[str] = frozenset()

    @classmethod
    def read(cls, enabled: bool, strength: float, demanded: float | None) -> Wishes:
        """`strength` is the accordion's; `demanded` is for one picture and takes the place of all others."""
        from modules import shared

        names = str(getattr(shared.opts, "dreamartist_off_concepts", "")).split(",")
        is_on = enabled and getattr(shared.opts, "dreamartist_enabled", True)
        usual = strength * float(getattr(shared.opts, "dreamartist_strength", 1.0))
        wanted = usual if demanded is None else demanded
        return cls(wanted if is_on else 0.0, frozenset(name.strip().lower() for name in names))

    def words(self, pairs: Mapping[str, str]) -> dict[str, LearnedWord]:
        wanted = ((name, negative) for name, negative in pairs.items() if name.lower() not in self.off)
        return {name: LearnedWord(name, negative, self.strength) for name, negative in wanted}


@dataclass(frozen=True)
class Pass:
    """Attributes of `p` with the prompts of a batch; with "all_" before them, those of every batch."""

    positives: str
    negatives: str
    steps: Steps

    def is_later(self, p: Any) -> bool:
        """Whether its prompts are read by a model that is not loaded before another pass is over."""
        return self.negatives == "hr_negative_prompts" and hires_is_later(p)


@dataclass
class Batch:
    """One batch of pictures on its way; `start` counts the pictures of the batches before it."""

    p: Any
    host: Host
    wishes: Wishes
    start: int
    added: dict[int, list[LearnedWord]] = field(default_factory=dict)  # by picture
    # Typed negatives, and the names of those that were put in, by the attribute of `p`.
    changed: dict[str, tuple[list[str], set[str]]] = field(default_factory=dict)

    def complete(self) -> str:
        """Put the negatives in and say so in the infotext. Changes nothing where no learned word is typed."""
        return self._complete_passes([each for each in _passes(self.p) if not each.is_later(self.p)])

    def complete_hires(self, p: Any) -> None:
        """The same for the hires pass alone, once its own checkpoint is loaded. `p` may be a copy of the first one."""
        host = find_host()
        if host is not None:
            later = replace(self, p=p, host=host)
            later._complete_passes([each for each in _passes(p) if each.is_later(p)])

    def unreadable(self) -> dict[str, list[str]]:
        from modules import shared

        host = find_host()
        loaded = () if host is None else host.loaded
        return {
            attribute: typed
            for attribute, (typed, names) in self.changed.items()
            if not fits(loaded, names, shared.sd_model)
        }

    def _complete_passes(self, passes: Sequence[Pass]) -> str:
        prompts = {prompt for each in passes for prompt in getattr(self.p, each.positives)}
        self._warn_of_others(prompts)
        index = word_index(tuple(self.host.loaded))
        if not any(index.may_hold(prompt) for prompt in prompts):
            return ""
        words = self.wishes.words(index.pairs)
        for each in passes:
            self._complete_pass(each, words)
        return self._write_line()

    def _complete_pass(self, each: Pass, words: Mapping[str, LearnedWord]) -> None:
        typed = list(getattr(self.p, each.negatives))
        pairs = list(zip(getattr(self.p, each.positives), typed, strict=False))
        results = {
            pair: effective_negative(self.host.language, *pair, each.steps, words) for pair in dict.fromkeys(pairs)
        }
        if any(result.added for result in results.values()):
            negatives = [results[pair].negative for pair in pairs] + typed[len(pairs) :]
            negatives = even_chunks(self.host.language, negatives, each.steps)
            self.changed[each.negatives] = typed, {w.negative for result in results.values() for w in result.added}
            self._write(each, words, typed, negatives)
            self._remember(pairs, negatives, results)
        memory = getattr(self.p, MEMORY, {})
        for picture, pair in enumerate(pairs):
            before = self.added.setdefault(picture, [])
            before += [word for word in results[pair].added or memory.get(pair, ()) if word not in before]

    def _write(self, each: Pass, words: Mapping[str, LearnedWord], typed: list[str], negatives: list[str]) -> None:
        setattr(self.p, each.negatives, negatives)
        everything = list(getattr(self.p, "all_" + each.negatives))
        here = zip(getattr(self.p, each.positives), typed, negatives, everything[self.start :], strict=False)
        for place, (positive, before, after, own) in enumerate(here, start=self.start):
            same = own == before  # unless another script has changed one of the two lists
            result = (
                after if same else effective_negative(self.host.language, positive, own, each.steps, words).negative
            )
            everything[place] = result
        setattr(self.p, "all_" + each.negatives, everything)
        if each.negatives == "negative_prompts" and getattr(self.p, "main_negative_prompt", None) == typed[0]:
            self._write_main(negatives[0])

    def _write_main(self, negative: str) -> None:
        """The grid's infotext shows the first picture's prompts, which the WebUI keeps a second time."""
        if self.start == 0 and getattr(self.p, "main_prompt", None) == self.p.all_prompts[0]:
            self.p.main_negative_prompt = negative

    def _remember(
        self, pairs: list[tuple[str, str]], negatives: list[str], results: Mapping[tuple[str, str], Effective]
    ) -> None:
        memory = dict(getattr(self.p, MEMORY, {}))
        memory |= {(pair[0], after): results[pair].added for pair, after in zip(pairs, negatives, strict=False)}
        setattr(self.p, MEMORY, memory)

    def _write_line(self) -> str:
        """The line of the infotext; where the pictures differ, a function that the WebUI asks for each of them."""
        lines = [describe(self.added.get(picture, ())) for picture in range(len(self.p.prompts))]
        everything = describe(dict.fromkeys(word for words in self.added.values() for word in words))
        if everything:
            differ = len(set(lines)) > 1 and self.host.infotext_asks_functions
            self.p.extra_generation_params[TITLE] = self._asked(lines) if differ else everything
        return everything

    def _asked(self, lines: Sequence[str]) -> Callable[..., str | None]:
        prompts = zip(self.p.all_prompts[self.start :], self.p.negative_prompts, strict=False)
        known = dict(zip(prompts, lines, strict=False))

        def line(prompt_text: str = "", negative_prompt: str = "", **_kwargs: Any) -> str | None:
            return known.get((prompt_text, negative_prompt)) or None

        return line

    def _warn_of_others(self, prompts: Iterable[str]) -> None:
        """Say once which typed words belong to another kind of model."""
        missing = set(self.host.skipped) - set(self.host.loaded)
        index = word_index((*self.host.loaded, *self.host.skipped) if missing else ())
        suspects = [prompt for prompt in prompts if index.may_hold(prompt)]
        for name, negative in index.pairs.items() if suspects else ():
            if not missing.isdisjoint((name, negative)) and any(_holds(prompt, name) for prompt in suspects):
                text = f'"{name}" was learned on another kind of model than the loaded one: nothing is added for it.'
                _log_once(text, self.host.model)
                self.p.comment(f"{TITLE}: {text}")


def _holds(prompt: str, name: str) -> bool:
    """By the letters: the WebUI's look-up does not know the words of other models."""
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", prompt, re.IGNORECASE) is not None


def _passes(p: Any) -> Iterator[Pass]:
    first = _total_steps(p.sampler_name, p.steps)
    yield Pass("prompts", "negative_prompts", Steps(first))
    if getattr(p, "enable_hr", False) and getattr(p, "hr_prompts", None) and getattr(p, "hr_negative_prompts", None):
        second = _total_steps(p.hr_sampler_name or p.sampler_name, p.hr_second_pass_steps or p.steps)
        yield Pass("hr_prompts", "hr_negative_prompts", Steps(first, None if _old_timelines() else second))


def _old_timelines() -> bool:
    """A compatibility setting with which prompts of the second pass go by the steps of the first."""
    from modules import shared

    return bool(getattr(shared.opts, "use_old_scheduling", False))


def _total_steps(sampler: str, steps: int) -> int:
    """Some samplers call the model twice a step, and prompts are scheduled by calls."""
    from modules import sd_samplers

    config = sd_samplers.find_sampler_config(sampler)
    return int(config.total_steps(steps)) if hasattr(config, "total_steps") else steps


@lru_cache(maxsize=8)
def word_index(names: tuple[str, ...]) -> WordIndex:
    return WordIndex(names)


@lru_cache(maxsize=256)
def _log_once(text: str, model: str) -> None:
    logger.warning("%s: %s", model, text)


@dataclass(frozen=True)
class Host:
    """The WebUI that runs us: its prompt language, and the names of its embeddings."""

    language: PromptLanguage
    loaded: Iterable[str]
    skipped: Iterable[str] = ()  # of another family than the loaded model
    infotext_asks_functions: bool = True
    model: str = ""


def find_host() -> Host | None:
    """Each WebUI's own tokenizer and embedding database, or None where the loaded model has none."""
    from modules import shared

    model = shared.sd_model
    name = str(getattr(getattr(model, "sd_checkpoint_info", None), "name", ""))
    if getattr(model, "embedding_db", None) is not None:  # SD.Next
        tokenizer = getattr(model, "tokenizer", None) or getattr(model, "tokenizer_2", None)
        return Host(TokenLanguage(tokenizer, model.embedding_db), *_names(model.embedding_db), False, name)
    for attribute in ("text_processing_engine", "text_processing_engine_l", "text_processing_engine_g"):  # Forge
        engine = getattr(model, attribute, None)
        if engine is not None and hasattr(engine, "process_texts"):
            return Host(ChunkLanguage(engine), *_names(engine.embeddings), model=name)
    encoder = getattr(model, "cond_stage_model", None)  # AUTOMATIC1111, reForge, Forge Classic
    if not hasattr(encoder, "process_texts"):
        return None
    from modules import sd_hijack

    return Host(ChunkLanguage(encoder), *_names(sd_hijack.model_hijack.embedding_db), model=name)


def _names(database: Any) -> tuple[Iterable[str], Iterable[str]]:
    return database.word_embeddings, database.skipped_embeddings


class ScheduleLanguage:
    """The part of the prompt language that all WebUIs share."""

    def parts(self, prompt: str) -> list[str]:
        from modules import prompt_parser

        return list(prompt_parser.get_multicond_prompt_list([prompt])[1])

    def schedules(self, prompt: str, steps: Steps) -> list[tuple[int, str]]:
        from modules import prompt_parser

        more = (steps.second, _old_timelines()) if steps.second or _old_timelines() else ()  # SD.Next takes no more
        return prompt_parser.get_learned_conditioning_prompt_schedules([prompt], steps.first, *more)[0]


class ChunkLanguage(ScheduleLanguage):
    """A text encoder of AUTOMATIC1111's making, whose chunks hold the embeddings that it found and the weights."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def embeddings(self, text: str) -> list[tuple[str, float]]:
        return [
            (fix.embedding.name, chunk.multipliers[fix.offset + 1])  # the first is the start token's
            for chunk in self._split(text)
            for fix in chunk.fixes
        ]

    def chunks(self, text: str) -> int:
        return len(self._split(text))

    def _split(self, text: str) -> list[Any]:
        return self._encoder.process_texts([text])[0][0]


class TokenLanguage(ScheduleLanguage):
    """SD.Next: embeddings are tokens of the tokenizer, AND is a word, and BREAK in a negative would not lengthen it."""

    def __init__(self, tokenizer: Any, database: Any) -> None:
        self._tokenizer, self._database = tokenizer, database

    def parts(self, prompt: str) -> list[str]:
        return [prompt]

    def embeddings(self, text: str) -> list[tuple[str, float]]:
        from modules import prompt_parser

        return [
            (token, weight)
            for section, weight in prompt_parser.parse_prompt_attention(text)
            for token in self._tokenizer.tokenize(section)
            if token in self._database.word_embeddings
        ]

    def chunks(self, text: str) -> int:
        return 1
