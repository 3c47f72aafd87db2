"""The script of txt2img and img2img that completes the negative prompts: `script_class` makes it of the WebUI's own.

It works in `process_batch`: the last call before the prompts are encoded, after styles, comments, wildcards and extra
networks, in AUTOMATIC1111, Forge, reForge, Forge Classic and SD.Next alike. The WebUI's modules are imported on use.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from html import escape
from typing import Any

from ...hosts.prompt_language import Steps
from ...hosts.webuis.called_off import stop_where_called_off
from ...hosts.webuis.options import loaded_model, setting, total_steps
from ...hosts.webuis.prompts import Host, find_host, old_timelines
from .loaded_words import loaded_words
from .prompt_hook import Effective, LearnedWord, describe, describe_left_out, effective_negative, even_chunks, holds
from .second_model import fits, hires_is_later, watch

logger = logging.getLogger(__name__)

TITLE = "DreamArtist"  # of the accordion, in the API's alwayson_scripts, and of the line in the infotext
STRENGTH = "dreamartist_strength"  # attribute of `p` by which others (X/Y/Z plot) set the strength of one picture
MOST_RESULTS = 1000  # prompts whose negatives are remembered
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
    _left_out: tuple[str, ...] = ()

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
                info="Multiplied by the strength in Settings; 0 adds nothing.",
                elem_id=self.elem_id("strength"),
            )
            self._line = gr.HTML(value=self._said(), elem_id=self.elem_id("added"))
        return [enabled, strength]

    def after_component(self, component: Any, **kwargs: Any) -> None:
        """A new picture's text comes last, so that the accordion can then say what was added to it."""
        tab = "img2img" if self.is_img2img else "txt2img"
        if kwargs.get("elem_id") == f"html_info_{tab}" and self._line is not None and hasattr(component, "change"):
            component.change(fn=self._said, inputs=[], outputs=[self._line], show_progress=False, queue=False)

    def process(self, p: Any, *_values: Any) -> None:
        stop_where_called_off()

    def process_batch(self, p: Any, enabled: bool | None = True, strength: float | None = 1.0, **kwargs: Any) -> None:
        p.extra_generation_params.pop(TITLE, None)  # copies of `p` share it
        wishes = Wishes.read(enabled is not False, 1.0 if strength is None else strength, getattr(p, STRENGTH, None))
        host = find_host() if wishes.strength else None
        self._last, self._left_out, batch = "", (), None
        if host is not None:
            number = kwargs.get("batch_number")
            batch = Batch(p, host, wishes, (p.iteration if number is None else number) * p.batch_size)
            self._last = batch.complete()
            self._left_out = tuple(dict.fromkeys(batch.left_out))
        watch(p, batch)

    def _said(self) -> str:
        said = [f"Added last: {self._last or 'nothing'}.", *self._left_out]
        return "".join(f"<p>{escape(line)}</p>" for line in said)


@dataclass(frozen=True)
class Wishes:
    """The accordion's values and the settings', as one."""

    strength: float
    off: frozenset[str] = frozenset()

    @classmethod
    def read(cls, enabled: bool, strength: float, demanded: float | None) -> Wishes:
        """`strength` is the accordion's; `demanded` is for one picture and takes the place of all others."""
        names = str(setting("dreamartist_off_concepts", "")).split(",")
        is_on = enabled and setting("dreamartist_enabled", True)
        usual = strength * float(setting("dreamartist_strength", 1.0))
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
    left_out: list[str] = field(default_factory=list)  # sentences on what could not be put in

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
        host = find_host()
        loaded = () if host is None else host.loaded
        return {
            attribute: typed
            for attribute, (typed, names) in self.changed.items()
            if not fits(loaded, names, loaded_model())
        }

    def _complete_passes(self, passes: Sequence[Pass]) -> str:
        prompts = {prompt for each in passes for prompt in getattr(self.p, each.positives)}
        self._warn_of_others(prompts)
        loaded = loaded_words(self.host.loaded)
        pairs = {name: negative for name in loaded.seen(prompts) if (negative := loaded.pairing.negative_of(name))}
        words = self.wishes.words(pairs)
        if not words:
            return ""
        for each in passes:
            self._complete_pass(each, words)
        return self._write_line()

    def _complete_pass(self, each: Pass, words: Mapping[str, LearnedWord]) -> None:
        typed = list(getattr(self.p, each.negatives))
        pairs = list(zip(getattr(self.p, each.positives), typed, strict=False))
        results = {pair: self._effective(*pair, each.steps, words) for pair in dict.fromkeys(pairs)}
        for pair, result in results.items():
            self._say_left_out(describe_left_out(result.left_out, pair[1]))
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

    def _say_left_out(self, sentence: str) -> None:
        """In the accordion and below the picture, once."""
        if sentence and sentence not in self.left_out:
            self.left_out.append(sentence)
            self.p.comment(f"{TITLE}: {sentence}")

    def _effective(self, positive: str, negative: str, steps: Steps, words: Mapping[str, LearnedWord]) -> Effective:
        """As found for an earlier picture, where the WebUI reads prompts as it did then."""
        known = results_for((*self.host.settings, loaded_words(self.host.loaded)) if self.host.settings else ())
        asked = (positive, negative, steps, tuple(words.values()))
        if asked not in known:
            known[asked] = effective_negative(self.host.language, positive, negative, steps, words)
        return known[asked]

    def _write(self, each: Pass, words: Mapping[str, LearnedWord], typed: list[str], negatives: list[str]) -> None:
        setattr(self.p, each.negatives, negatives)
        everything = list(getattr(self.p, "all_" + each.negatives))
        here = zip(getattr(self.p, each.positives), typed, negatives, everything[self.start :], strict=False)
        for place, (positive, before, after, own) in enumerate(here, start=self.start):
            same = own == before  # unless another script has changed one of the two lists
            everything[place] = after if same else self._effective(positive, own, each.steps, words).negative
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
        if not missing:
            return
        known = loaded_words({**self.host.skipped, **self.host.loaded})
        for name in known.seen(prompts):
            negative = known.pairing.negative_of(name)
            is_other = negative is not None and not missing.isdisjoint((name, negative))
            if is_other and any(holds(prompt, name) for prompt in prompts):
                text = f'"{name}" was learned on another kind of model than the loaded one: nothing is added for it.'
                _log_once(text, self.host.model)
                self.p.comment(f"{TITLE}: {text}")


def _passes(p: Any) -> Iterator[Pass]:
    first = total_steps(p.sampler_name, p.steps)
    yield Pass("prompts", "negative_prompts", Steps(first))
    if getattr(p, "enable_hr", False) and getattr(p, "hr_prompts", None) and getattr(p, "hr_negative_prompts", None):
        second = total_steps(p.hr_sampler_name or p.sampler_name, p.hr_second_pass_steps or p.steps)
        yield Pass("hr_prompts", "hr_negative_prompts", Steps(first, None if old_timelines() else second))


_results: dict[tuple[Any, ...], Effective] = {}
_settings: list[Any] = [()]  # for which they hold


def results_for(settings: tuple[Any, ...]) -> dict[tuple[Any, ...], Effective]:
    """The effective negatives that were found with these settings, to be added to."""
    if not settings or settings != _settings[0] or len(_results) >= MOST_RESULTS:
        _results.clear()
        _settings[0] = settings
    return _results


@lru_cache(maxsize=256)
def _log_once(text: str, model: str) -> None:
    logger.warning("%s: %s", model, text)
