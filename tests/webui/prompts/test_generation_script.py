"""The script in the call orders of five WebUIs, each as read in its source at the commit that is named here.

The fakes hold what the script can see of a WebUI: the order of the calls around `process_batch`, which lists exist
when, what the infotext is made of, and where tokenizer and embeddings live. The prompt language is the tests' own.
"""

from __future__ import annotations

import copy
import logging
import re
import sys
import types
from dataclasses import dataclass, field
from typing import Any

import pytest

from dreamartist_ext.hosts.prompt_language import Steps
from dreamartist_ext.webui.prompts import generation_script

from .test_prompt_hook import VECTORS, FakeLanguage, attention

LONG = "blurry, " * 40  # two chunks


@dataclass
class Picture:
    """StableDiffusionProcessingTxt2Img: what a user asks for, and what the WebUI makes of it."""

    prompt: Any = ""
    negative_prompt: Any = ""
    styles: list[str] = field(default_factory=list)
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 20
    sampler_name: str = "Euler a"
    enable_hr: bool = False
    hr_prompt: str = ""
    hr_negative_prompt: str = ""
    hr_second_pass_steps: int = 0
    hr_sampler_name: str | None = None
    extra_generation_params: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, int] = field(default_factory=dict)
    all_prompts: Any = None
    all_negative_prompts: Any = None

    def comment(self, text):
        self.comments[text] = 1


@dataclass
class Result:
    """By picture: the negatives that were encoded for either pass, and the infotext."""

    negatives: list[str] = field(default_factory=list)
    hr_negatives: list[str] = field(default_factory=list)
    infotexts: list[str] = field(default_factory=list)


@dataclass
class Encoder:
    """`process_texts` of AUTOMATIC1111's and Forge's text encoders."""

    language: FakeLanguage
    asked: int = 0

    def process_texts(self, texts):
        self.asked += 1
        chunks = [self._chunk(text) for text in texts]
        return chunks, 0

    def _chunk(self, text):
        found = self.language.embeddings(text)
        fixes = [
            types.SimpleNamespace(offset=n, embedding=types.SimpleNamespace(name=name))
            for n, (name, _) in enumerate(found)
        ]
        first = types.SimpleNamespace(fixes=fixes, multipliers=[1.0, *(weight for _, weight in found)])
        empty = types.SimpleNamespace(fixes=[], multipliers=[1.0])
        return [first] + [empty] * (self.language.chunks(text) - 1)


@dataclass
class WebUI:
    """A fake host with its modules; `scripts` are called in order."""

    vectors: dict[str, int]
    opts: types.SimpleNamespace = field(default_factory=types.SimpleNamespace)
    skipped: dict[str, Any] = field(default_factory=dict)
    scripts: list[Any] = field(default_factory=list)
    styles: dict[str, str] = field(default_factory=lambda: {"pets": "{prompt}, cat1"})

    asks_functions = True
    lora = re.compile(r"<\w+:[^>]+>")

    def __post_init__(self):
        self.language = FakeLanguage(self.vectors)
        self.encoder = Encoder(self.language)

    @property
    def database(self):
        return types.SimpleNamespace(word_embeddings=self.vectors, skipped_embeddings=self.skipped)

    def model(self):
        return types.SimpleNamespace(cond_stage_model=self.encoder)

    def hijack(self):
        return types.SimpleNamespace(embedding_db=self.database)

    def schedules(self, prompts, steps, second=None, old=False):
        self.language.old_timelines = old
        return [[list(pair) for pair in self.language.schedules(prompt, Steps(steps, second))] for prompt in prompts]

    def multicond(self, prompts):
        parts = self.language.parts(prompts[0])
        return [[(number, weight) for number, (_, weight) in enumerate(parts)]], [text for text, _ in parts], {}

    def modules(self):
        sampler = types.SimpleNamespace(total_steps=lambda steps: steps)
        return {
            "shared": {"opts": self.opts, "sd_model": self.model()},
            "sd_samplers": {"find_sampler_config": lambda name: sampler if name else None},
            "prompt_parser": {
                "get_learned_conditioning_prompt_schedules": self.schedules,
                "get_multicond_prompt_list": self.multicond,
                "parse_prompt_attention": attention,
            },
            "sd_hijack": {"model_hijack": self.hijack()},
        }

    def call(self, name, p, **kwargs):
        for script in self.scripts:
            if hasattr(script, name):
                getattr(script, name)(p, *getattr(script, "args", ()), **kwargs)

    def run(self, p):
        result = Result()
        self.call("before_process", p)
        self.setup_prompts(p)
        self.call("process", p)
        self.strip_comments(p)  # a script that stands last
        for n in range(p.n_iter):
            p.iteration = n
            self.batch(p, n, result)
        self.call("postprocess", p)
        return result

    def setup_prompts(self, p):
        count = p.batch_size * p.n_iter
        style = self.styles[p.styles[0]] if p.styles else "{prompt}"
        asked = p.prompt if isinstance(p.prompt, list) else [p.prompt] * count
        p.all_prompts = [style.replace("{prompt}", text) for text in asked]
        typed = p.negative_prompt
        p.all_negative_prompts = list(typed) if isinstance(typed, list) else [typed] * len(p.all_prompts)
        p.main_prompt, p.main_negative_prompt = p.all_prompts[0], p.all_negative_prompts[0]
        if p.enable_hr:
            p.all_hr_prompts = [style.replace("{prompt}", p.hr_prompt or p.prompt)] * count
            p.all_hr_negative_prompts = [p.hr_negative_prompt or p.negative_prompt] * count

    def strip_comments(self, p):
        for name in ("all_prompts", "all_negative_prompts", "all_hr_prompts", "all_hr_negative_prompts"):
            if getattr(p, name, None):
                setattr(p, name, [re.sub(r"#[^\n]*(\n|$)", "\n", text) for text in getattr(p, name)])

    def batch(self, p, n, result):
        mine = slice(n * p.batch_size, (n + 1) * p.batch_size)
        p.prompts, p.negative_prompts = p.all_prompts[mine], p.all_negative_prompts[mine]
        self.call("before_process_batch", p, batch_number=n, prompts=p.prompts, seeds=[], subseeds=[])
        self.parse_extra_networks(p, mine)
        self.call("process_batch", p, batch_number=n, prompts=p.prompts, seeds=[], subseeds=[])
        self.encode(p, result)
        self.call("postprocess_batch", p, batch_number=n)
        p.prompts, p.negative_prompts = p.all_prompts[mine], p.all_negative_prompts[mine]
        result.infotexts += [self.infotext(p, i) for i in range(len(p.prompts))]

    def parse_extra_networks(self, p, mine):
        p.prompts = [self.lora.sub("", prompt) for prompt in p.prompts]
        if p.enable_hr:
            p.hr_prompts, p.hr_negative_prompts = p.all_hr_prompts[mine], p.all_hr_negative_prompts[mine]
            p.hr_prompts = [self.lora.sub("", prompt) for prompt in p.hr_prompts]

    def encode(self, p, result):
        """Stacks the negatives of a batch, which fails where they differ in length."""
        steps = Steps(p.steps)
        lengths = {
            max(self.language.chunks(t) for _, t in self.language.schedules(x, steps)) for x in p.negative_prompts
        }
        assert len(lengths) == 1, "The expanded size of the tensor must match the existing size"
        result.negatives += p.negative_prompts
        result.hr_negatives += p.hr_negative_prompts if p.enable_hr else []

    def infotext(self, p, index):
        prompt_text, negative_prompt = p.prompts[index], p.negative_prompts[index]
        params = dict(p.extra_generation_params)
        if p.enable_hr and p.all_hr_negative_prompts[index] != negative_prompt:
            params["Hires negative prompt"] = p.all_hr_negative_prompts[index]
        for key, value in params.items():
            if isinstance(value, list):
                params[key] = value[index]
            elif callable(value):
                params[key] = value(**locals())
        line = ", ".join(f"{key}: {value}" for key, value in params.items() if value is not None)
        return f"{prompt_text}\nNegative prompt: {negative_prompt}\n{line}"


class A1111(WebUI):
    """AUTOMATIC1111 v1.10.1, 82a973c0: modules/processing.py, process_images_inner."""


class Forge(WebUI):
    """lllyasviel/stable-diffusion-webui-forge dfdcbab6: the same order; embeddings belong to the text engine."""

    def model(self):
        engine = Encoder(self.language)
        engine.embeddings = self.database
        self.encoder = engine
        return types.SimpleNamespace(text_processing_engine=None, text_processing_engine_l=engine)

    def hijack(self):
        return types.SimpleNamespace()


class ReForge(WebUI):
    """Panchovix/stable-diffusion-webui-reForge 3b56b268: the same order; comments leave the infotext once more."""

    def infotext(self, p, index):
        p.prompts = [re.sub(r"(#.*(\n|$))", "\n", text) for text in p.prompts]
        p.negative_prompts = [re.sub(r"(#.*(\n|$))", "\n", text) for text in p.negative_prompts]
        return super().infotext(p, index)


class ForgeClassic(WebUI):
    """Haoming02/sd-webui-forge-classic 1f95d717: the same order; the database is on sd_hijack, functions are asked."""


class SDNext(WebUI):
    """vladmandic/automatic 431bcc36, diffusers backend: modules/processing.py and prompt_parser_diffusers.py.

    Prompts that `p` brings along are kept; there are no lists for a second pass; AND is a word; embeddings are tokens
    of the tokenizer, upper and lower case apart; the infotext asks no functions.
    """

    asks_functions = False

    def model(self):
        tokenizer = types.SimpleNamespace(tokenize=self.tokenize)
        return types.SimpleNamespace(embedding_db=self.database, tokenizer=tokenizer)

    def tokenize(self, text):
        names = sorted(self.vectors, key=len, reverse=True)
        return re.findall("|".join([*map(re.escape, names), r"\w+|[^\w\s]"]), text)

    def modules(self):
        found = super().modules()
        del found["sd_hijack"], found["prompt_parser"]["get_multicond_prompt_list"]
        found["sd_samplers"]["find_sampler_config"] = lambda name: types.SimpleNamespace(name=name)
        return found

    def schedules(self, prompts, steps):
        return super().schedules(prompts, steps)

    def setup_prompts(self, p):
        kept = p.all_prompts, p.all_negative_prompts
        super().setup_prompts(p)
        if kept[0] is not None:
            p.all_prompts, p.all_negative_prompts = kept

    def parse_extra_networks(self, p, mine):
        p.prompts = [self.lora.sub("", prompt) for prompt in p.prompts]

    def encode(self, p, result):
        result.negatives += p.negative_prompts

    def infotext(self, p, index):
        line = ", ".join(f"{key}: {value}" for key, value in p.extra_generation_params.items())
        return f"{p.prompts[index]}\nNegative prompt: {p.negative_prompts[index]}\n{line}"


KINDS = [A1111, Forge, ReForge, ForgeClassic, SDNext]
WITH_HIRES = [A1111, Forge, ReForge, ForgeClassic]


class Base:
    """modules.scripts.Script."""

    def elem_id(self, item):
        return f"script_{item}"


SCRIPTS = types.SimpleNamespace(Script=Base, AlwaysVisible=object())


def hook(*args):
    script = generation_script.script_class(SCRIPTS)()
    script.args, script.is_img2img = args or (True, 1.0), False
    return script


@pytest.fixture
def install(monkeypatch):
    """Make a fake WebUI the one that `from modules import ...` finds."""

    def installed(kind=A1111, **values):
        webui = kind(**({"vectors": dict(VECTORS)} | values))
        webui.scripts.append(hook())
        package = types.ModuleType("modules")
        monkeypatch.setitem(sys.modules, "modules", package)
        for name in [name for name in sys.modules if name.startswith("modules.")]:
            monkeypatch.delitem(sys.modules, name)
        for name, content in webui.modules().items():
            module = types.ModuleType(f"modules.{name}")
            vars(module).update(content)
            monkeypatch.setitem(sys.modules, f"modules.{name}", module)
            setattr(package, name, module)
        return webui

    return installed


@pytest.mark.parametrize("kind", KINDS)
def test_a_learned_word_brings_its_negative_into_picture_and_infotext(install, kind):
    webui = install(kind)
    result = webui.run(Picture("a photo of cat1", "blurry"))
    assert result.negatives == ["blurry, cat1-neg"]
    assert result.infotexts == ["a photo of cat1\nNegative prompt: blurry, cat1-neg\nDreamArtist: cat1 -> cat1-neg"]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_steps_are_the_positives(install, kind):
    webui = install(kind)
    result = webui.run(Picture("(cat1:1.3) [tree:dog2:10]", "x"))
    assert result.negatives == ["x, (cat1-neg:1.3), [dog2-neg:10]"]


class Watched(dict):
    """Notes what is written."""

    def __init__(self):
        super().__init__()
        self.writes = []

    def __setitem__(self, key, value):
        self.writes.append(key)
        super().__setitem__(key, value)


class Untouched:
    """A script after ours that compares with what one before ours saw."""

    def before_process_batch(self, p, **kwargs):
        self.state = None

    def snapshot(self, p):
        lists = ("prompts", "negative_prompts", "all_prompts", "all_negative_prompts", "hr_negative_prompts")
        return [getattr(p, name, None) for name in lists], dict(vars(p))

    def process_batch(self, p, **kwargs):
        if self.state is None:
            self.state = self.snapshot(p)
        else:
            lists, attributes = self.snapshot(p)
            assert all(a is b for a, b in zip(lists, self.state[0], strict=True))
            assert attributes == self.state[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "prompt", ["a tree", "plain", "cat1-neg", "concat1", "(a cat:1.1)", "<lora:cat1:1> a tree", "a tree # cat1"]
)
def test_without_a_learned_word_nothing_is_touched(install, kind, prompt):
    webui, watcher = install(kind), Untouched()
    webui.scripts = [watcher, *webui.scripts, watcher]
    p = Picture(prompt, " x ", extra_generation_params=Watched(), enable_hr=kind in WITH_HIRES)
    result = webui.run(p)
    assert result.negatives == [" x "]
    assert not p.extra_generation_params.writes
    assert not p.comments


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_word_that_looks_learned_the_prompt_language_is_not_asked(install, kind):
    webui = install(kind)
    asked = []
    webui.language.schedules = lambda *args: asked.append(args)
    webui.language.embeddings = lambda *args: asked.append(args)
    webui.encode = lambda p, result: None
    webui.run(Picture("a [tree:house:0.5] on a (hill:1.2)", "x"))
    assert not asked


@pytest.mark.parametrize(
    ("args", "opts"),
    [
        ((False, 1.0), {}),
        ((True, 0.0), {}),
        ((True, 1.0), {"dreamartist_enabled": False}),
        ((True, 1.0), {"dreamartist_strength": 0.0}),
        ((True, 1.0), {"dreamartist_off_concepts": "dog2, CAT1"}),
    ],
)
def test_off_is_off(install, args, opts):
    webui, watcher = install(opts=types.SimpleNamespace(**opts)), Untouched()
    webui.scripts = [watcher, hook(*args), watcher]
    assert webui.run(Picture("cat1", "x")).negatives == ["x"]


@pytest.mark.parametrize(
    ("args", "opts", "demanded", "expected"),
    [
        ((True, 0.5), {}, None, "(cat1-neg:0.5)"),
        ((True, 0.5), {"dreamartist_strength": 0.5}, None, "(cat1-neg:0.25)"),
        ((None, None), {}, None, "cat1-neg"),  # a caller that knows no arguments of ours
        ((True, 0.5), {}, 2.0, "(cat1-neg:2)"),
        ((True, 0.5), {}, 0.0, ""),
        ((False, 1.0), {}, 2.0, ""),
    ],
)
def test_strength(install, args, opts, demanded, expected):
    webui = install(opts=types.SimpleNamespace(**opts))
    webui.scripts = [hook(*args)]
    p = Picture("cat1")
    if demanded is not None:
        p.dreamartist_strength = demanded
    assert webui.run(p).negatives == [expected]


def test_one_concept_off_leaves_the_other(install):
    webui = install(opts=types.SimpleNamespace(dreamartist_off_concepts=" Cat1 "))
    assert webui.run(Picture("cat1 and dog2")).negatives == ["dog2-neg"]


@pytest.mark.parametrize("kind", KINDS)
def test_styles_come_before(install, kind):
    result = install(kind).run(Picture("a photo", styles=["pets"]))
    assert result.negatives == ["cat1-neg"]


class Wildcards:
    """An extension that fills placeholders in `process`, as most do, or later."""

    def __init__(self, *values, when="process"):
        setattr(self, when, self.fill)
        self.values, self.when = values, when

    def fill(self, p, *args, **kwargs):
        name = "prompts" if "batch" in self.when else "all_prompts"
        filled = [text.replace("__x__", value) for text, value in zip(getattr(p, name), self.values, strict=True)]
        getattr(p, name)[:] = filled


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["process", "before_process_batch", "process_batch"])
def test_wildcards_of_other_scripts_come_before(install, kind, when):
    webui = install(kind)
    webui.scripts.insert(0, Wildcards("cat1", "dog2", when=when))
    result = webui.run(Picture("a __x__", "x", batch_size=2))
    assert result.negatives == ["x, cat1-neg", "x, dog2-neg"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_of_every_batch_has_its_own(install, kind):
    webui = install(kind)
    webui.scripts.insert(0, Wildcards("cat1", "a cow", "dog2", "cat1"))
    result = webui.run(Picture("a __x__", "x", n_iter=4))
    assert result.negatives == ["x, cat1-neg", "x", "x, dog2-neg", "x, cat1-neg"]
    assert ["DreamArtist: " in text for text in result.infotexts] == [True, False, True, True]
    assert "dog2 -> dog2-neg" in result.infotexts[2]


@pytest.mark.parametrize("kind", KINDS)
def test_the_line_in_a_batch_of_different_pictures(install, kind):
    webui = install(kind)
    webui.scripts.insert(0, Wildcards("cat1", "a cow", "dog2", "cat1"))
    p = Picture("a __x__", "x", n_iter=2, batch_size=2)
    lines = [text.partition("DreamArtist: ")[2] for text in webui.run(p).infotexts]
    if kind.asks_functions:
        assert lines == ["cat1 -> cat1-neg", "", "dog2 -> dog2-neg", "cat1 -> cat1-neg"]
    else:  # one text for the whole batch
        both = "dog2 -> dog2-neg, cat1 -> cat1-neg"
        assert lines == ["cat1 -> cat1-neg", "cat1 -> cat1-neg", both, both]


@pytest.mark.parametrize("kind", WITH_HIRES)
def test_a_second_chunk_in_one_picture_lengthens_the_others(install, kind):
    webui = install(kind, vectors=VECTORS | {"cat1-neg": 74})
    webui.scripts.insert(0, Wildcards("cat1", "a cow"))
    result = webui.run(Picture("a __x__", "x", batch_size=2))
    assert result.negatives == ["x, cat1-neg", "x BREAK BREAK"]
    assert "Negative prompt: x BREAK BREAK\n" in result.infotexts[1]


@pytest.mark.parametrize("kind", WITH_HIRES)
def test_batches_without_a_learned_word_are_not_lengthened(install, kind):
    webui = install(kind, vectors=VECTORS | {"cat1-neg": 74})
    webui.scripts.insert(0, Wildcards("cat1", "a cow", "a cow", "a hen"))
    result = webui.run(Picture("a __x__", "x", batch_size=2, n_iter=2))
    assert result.negatives[2:] == ["x", "x"]


@pytest.mark.parametrize("kind", WITH_HIRES)
class TestHires:
    def test_each_pass_has_its_own(self, install, kind):
        result = install(kind).run(Picture("cat1", "x", enable_hr=True, hr_prompt="dog2"))
        assert (result.negatives, result.hr_negatives) == (["x, cat1-neg"], ["x, dog2-neg"])
        assert "Hires negative prompt: x, dog2-neg" in result.infotexts[0]
        assert "DreamArtist: cat1 -> cat1-neg, dog2 -> dog2-neg" in result.infotexts[0]

    def test_without_a_prompt_of_its_own_it_has_the_first_ones(self, install, kind):
        result = install(kind).run(Picture("[cat1:0.4]", "x", enable_hr=True))
        assert result.negatives == result.hr_negatives == ["x, [cat1-neg:0.4]"]
        assert "Hires" not in result.infotexts[0]

    def test_a_word_in_the_second_pass_alone(self, install, kind):
        result = install(kind).run(Picture("a tree", "x", enable_hr=True, hr_prompt="dog2", n_iter=2))
        assert (result.negatives, result.hr_negatives) == (["x", "x"], ["x, dog2-neg", "x, dog2-neg"])

    def test_its_steps_are_its_own(self, install, kind):
        p = Picture("a tree", enable_hr=True, hr_prompt="ca[ts:t1:24]", hr_second_pass_steps=8)
        assert install(kind).run(p).hr_negatives == ["[cat1-neg:24]"]


def test_with_old_timelines_the_second_pass_goes_by_the_steps_of_the_first(install):
    webui = install(opts=types.SimpleNamespace(use_old_scheduling=True))
    result = webui.run(Picture("ca[ts:t1:3]", enable_hr=True, hr_second_pass_steps=8))
    assert result.negatives == result.hr_negatives == ["[cat1-neg:3]"]


def test_a_sampler_with_two_calls_a_step_has_twice_the_steps(install):
    webui = install()
    sys.modules["modules.sd_samplers"].find_sampler_config = lambda name: types.SimpleNamespace(
        total_steps=lambda steps: steps * 2
    )
    assert webui.run(Picture("ca[ts:t1:0.5]", steps=10)).negatives == ["[cat1-neg:10]"]


class Twice:
    """Calls our script once more, as an extension may that makes pictures of its own from `p`."""

    def __init__(self, script):
        self.script = script

    def process_batch(self, p, **kwargs):
        self.script.process_batch(p, *self.script.args, **kwargs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_called_twice_it_adds_once(install, kind, strength):
    webui = install(kind)
    webui.scripts = [hook(True, strength)]
    once = webui.run(Picture("cat1", "x", batch_size=2))
    webui.scripts.append(Twice(webui.scripts[0]))
    assert webui.run(Picture("cat1", "x", batch_size=2)) == once


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_is_asked_for_again_is_the_same(install, kind):
    webui, p = install(kind), Picture("cat1", "x", n_iter=2)
    first = webui.run(p)
    assert webui.run(p) == first


@pytest.mark.parametrize("kind", KINDS)
def test_copies_of_a_picture_do_not_speak_for_each_other(install, kind):
    webui, p = install(kind), Picture("cat1", "x")
    results = []
    for prompt in ("cat1", "a tree", "dog2"):
        cell = copy.copy(p)  # as X/Y/Z plot and "prompts from file" do: the dict of parameters is shared
        cell.prompt = prompt
        results.append(webui.run(cell))
    assert [result.negatives for result in results] == [["x, cat1-neg"], ["x"], ["x, dog2-neg"]]
    assert "DreamArtist" not in results[1].infotexts[0]
    assert "cat1" not in results[2].infotexts[0]


@pytest.mark.parametrize("kind", KINDS)
def test_an_infotext_read_back_gives_the_same_picture(install, kind):
    webui = install(kind)
    first = webui.run(Picture("(cat1:1.2) [dog2:0.4]", "x"))
    again = webui.run(Picture("(cat1:1.2) [dog2:0.4]", first.negatives[0]))
    assert again.negatives == first.negatives
    assert "DreamArtist" not in again.infotexts[0]


class Meddler:
    """A script that leaves lists of unequal length, or changes one of the two lists only."""

    def __init__(self, change):
        self.change = change

    def before_process_batch(self, p, **kwargs):
        self.change(p)


@pytest.mark.parametrize("kind", KINDS)
def test_lists_of_other_lengths_stay_so(install, kind):
    webui = install(kind)
    webui.scripts.insert(0, Meddler(lambda p: p.all_negative_prompts.append("z")))
    p = Picture("cat1", "x", batch_size=2)
    assert webui.run(p).negatives == ["x, cat1-neg", "x, cat1-neg"]
    assert p.all_negative_prompts == ["x, cat1-neg", "x, cat1-neg", "z"]

    webui.scripts[0] = Meddler(lambda p: p.all_negative_prompts.pop())
    p = Picture("cat1", "x", batch_size=2)
    webui.infotext = lambda p, index: ""
    assert webui.run(p).negatives == ["x, cat1-neg", "x, cat1-neg"]
    assert p.all_negative_prompts == ["x, cat1-neg"]


@pytest.mark.parametrize("kind", KINDS)
def test_lists_that_differ_are_completed_each(install, kind):
    webui = install(kind)
    webui.scripts.insert(0, Meddler(lambda p: setattr(p, "negative_prompts", ["y"])))
    p = Picture("cat1", "x")
    assert webui.run(p).negatives == ["y, cat1-neg"]
    assert p.all_negative_prompts == ["x, cat1-neg"]


def test_a_list_given_by_the_caller_is_not_written_into(install):
    typed = ["x", "y"]
    p = Picture(["cat1", "dog2"], typed, batch_size=2)
    assert install().run(p).negatives == ["x, cat1-neg", "y, dog2-neg"]
    assert typed == ["x", "y"]


def test_the_grid_shows_the_effective_negative_of_the_first_picture(install):
    webui, p = install(), Picture("cat1", "x", n_iter=2)
    webui.run(p)
    assert p.main_negative_prompt == "x, cat1-neg"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("skipped", [["cat1", "cat1-neg"], ["cat1-neg"], ["cat1"]])
def test_a_word_of_another_kind_of_model_is_named_once(install, kind, skipped, caplog):
    generation_script._log_once.cache_clear()
    vectors = {name: count for name, count in VECTORS.items() if name not in skipped}
    webui = install(kind, vectors=vectors, skipped=dict.fromkeys(skipped))
    with caplog.at_level(logging.WARNING):
        pictures = [
            Picture("Cat1 and concat1", "x", n_iter=3),
            Picture("(cat1:1.2)", "x"),
            Picture("cat12, xcat1", "x"),
        ]
        results = [webui.run(p) for p in pictures]
    assert [set(result.negatives) for result in results] == [{"x"}, {"x"}, {"x"}]
    assert [len(p.comments) for p in pictures] == [1, 1, 0]
    assert len(caplog.records) == 1
    assert '"cat1"' in caplog.text


@pytest.mark.parametrize("model", [None, types.SimpleNamespace(), types.SimpleNamespace(cond_stage_model=object())])
def test_a_model_without_embeddings_is_left_alone(install, model):
    webui = install()
    sys.modules["modules.shared"].sd_model = model
    assert webui.run(Picture("cat1", "x")).negatives == ["x"]


def test_the_accordion_says_what_was_added_last(install):
    webui = install()
    script = webui.scripts[0]
    assert "nothing" in script._said()
    webui.run(Picture("cat1"))
    assert "cat1 -&gt; cat1-neg" in script._said()
    webui.run(Picture("a tree"))
    assert "nothing" in script._said()


def test_a_negative_that_cannot_be_put_in_is_said_in_the_page(install):
    webui, p = install(), Picture("[cat1:0.4] dog2", "a | b, [x:y:0.5]", n_iter=2)
    script = webui.scripts[0]
    assert set(webui.run(p).negatives) == {"a | b, [x:y:0.5]"}
    said = script._said()
    assert "Added last: nothing." in said
    assert "cat1-neg" in said
    assert "a | b, [x:y:0.5]" in said
    assert [comment.count("cat1-neg") for comment in p.comments] == [1]
    webui.run(Picture("cat1"))
    assert "was not added" not in script._said()


def test_the_page(monkeypatch):
    """The parts of gradio that 3.41 and 4.40 share."""

    class Component:
        def __init__(self, *args, **kwargs):
            self.asked, self.events = kwargs, []

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def change(self, **kwargs):
            self.events.append(kwargs)

    made = types.SimpleNamespace(Accordion=Component, Checkbox=Component, Slider=Component, HTML=Component)
    monkeypatch.setitem(sys.modules, "gradio", made)
    script = hook()
    enabled, strength = script.ui(False)
    assert (enabled.asked["value"], strength.asked["value"], strength.asked["maximum"]) == (True, 1, 2)
    other, info = Component(), Component()
    script.after_component(other, elem_id="html_info_img2img")
    script.after_component(info, elem_id="html_info_txt2img")
    assert (len(other.events), len(info.events)) == (0, 1)
    assert info.events[0]["fn"]() == script._said()


def test_the_script_is_always_there():
    script = hook()
    assert script.title() == "DreamArtist"
    assert script.show(False) is script.show(True) is SCRIPTS.AlwaysVisible
