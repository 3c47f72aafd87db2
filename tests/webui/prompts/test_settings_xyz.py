"""The section in Settings and the axes of the X/Y/Z plot, against fakes of what they touch in the WebUI."""

from __future__ import annotations

import copy
import hashlib
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.errors import DreamArtistError
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.files.storage import save_pair
from dreamartist_ext.webui import settings
from dreamartist_ext.webui.prompts import xyz

WIDTH = 6


class Option:
    def __init__(self, default=None, label="", component=None, component_args=None, section=None):
        self.default, self.label, self.section, self.component = default, label, section, component
        self.component_args, self.help = component_args, ""

    def info(self, text):
        self.help = text
        return self


class TestSettings:
    @pytest.fixture
    def added(self):
        options = {}
        shared = SimpleNamespace(OptionInfo=Option, opts=SimpleNamespace(add_option=options.__setitem__))
        settings.register(shared)
        settings.register(shared)  # "Reload UI"
        return options

    def test_the_options_and_their_defaults(self, added):
        assert {name: option.default for name, option in added.items()} == {
            "dreamartist_enabled": True,
            "dreamartist_strength": 1.0,
            "dreamartist_off_concepts": "",
        }

    def test_each_is_in_our_section_and_says_what_it_does(self, added):
        for option in added.values():
            assert option.section == ("dreamartist", "DreamArtist")
            assert option.label
            assert option.help

    def test_the_strength_is_a_slider(self, added):
        import gradio as gr

        option = added["dreamartist_strength"]
        assert option.component is gr.Slider
        assert (option.component_args["minimum"], option.component_args["maximum"]) == (0, 2)


class Axis:
    def __init__(self, label, type, apply, confirm=None, choices=None):
        self.label, self.type, self.apply, self.confirm, self.choices = label, type, apply, confirm, choices


class Database:
    """The WebUI's, by its tokens: one letter each."""

    expected_shape = WIDTH

    def __init__(self):
        self.word_embeddings, self.ids_lookup = {}, {}

    def register_embedding_by_name(self, embedding, model, name):
        lookup = [entry for entry in self.ids_lookup.get(name[0], []) if entry[0] != name]
        self.ids_lookup[name[0]] = [*lookup, (name, embedding)] if embedding else lookup
        if embedding is None:
            self.word_embeddings.pop(name, None)
        else:
            self.word_embeddings[name] = embedding


class Embedding:
    def __init__(self, vec, name):
        self.vec, self.name, self.hash = vec, name, None

    def set_hash(self, digest):
        self.hash = digest


class Processing:
    """What the plot copies for every cell."""

    cached_c = [None, None]  # noqa: RUF012 (shared by all, as in the WebUI)

    def __init__(self, database):
        self.database, self.extra_generation_params = database, {}
        self.cached_c, self.cached_hr_c = Processing.cached_c, Processing.cached_c
        self.seen, self.fails = {}, False
        self.prompts, self.hashes = ["a cat"], {}

    def setup_conds(self):
        self.seen = {word: found.vec.tolist() for word, found in self.database.word_embeddings.items()}
        self.hashes = {word: found.hash for word, found in self.database.word_embeddings.items() if found.hash}
        self.calculate_hr_conds()
        if self.fails:
            raise RuntimeError("no memory")

    def calculate_hr_conds(self):
        self.hr_seen = {word: found.vec.tolist() for word, found in self.database.word_embeddings.items()}


@pytest.fixture
def database(tmp_path, monkeypatch):
    """A WebUI with cat and dog, trained for 10 and 20 steps and for 20 alone; their vectors are their steps."""
    database, embeddings = Database(), tmp_path / "embeddings"
    embedding_module = SimpleNamespace(Embedding=Embedding)
    modules = {
        "shared": SimpleNamespace(
            cmd_opts=SimpleNamespace(embeddings_dir=str(embeddings)), opts=SimpleNamespace(), sd_model=object()
        ),
        "devices": SimpleNamespace(device=torch.device("cpu")),
        "sd_hijack": SimpleNamespace(model_hijack=SimpleNamespace(embedding_db=database)),
        "textual_inversion": SimpleNamespace(textual_inversion=embedding_module),
        "textual_inversion.textual_inversion": embedding_module,
    }
    monkeypatch.setitem(sys.modules, "modules", SimpleNamespace(**modules))
    for name in ("ldm", "sgm"):  # by these AUTOMATIC1111 is known
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, f"modules.{name}", module)
    for name, steps in {"cat": (10, 20), "dog": (20,)}.items():
        files = RunFiles(embeddings, name)
        for step in steps:
            save_pair(pair(name, step), files.folder, stem=files.step_stem(step))
        save_pair(pair(name, 99), embeddings)
        for word, half in pair(name, 99).named().items():
            database.register_embedding_by_name(Embedding(half["clip"], word), None, word)
    save_pair(pair("other", 1), embeddings)
    return database


def pair(name, step):
    vectors = torch.full((1, WIDTH), float(step))
    return EmbeddingPair(name, {"clip": vectors}, {"clip": -vectors}, step)


def plot():
    module = ModuleType("xyz_grid.py")
    module.AxisOption, module.axis_options = Axis, [Axis("Nothing", str, None)]
    return module


def labels(module):
    return [option.label for option in module.axis_options]


OURS = ["[DreamArtist] Negative strength", "[DreamArtist] Pair or positive only", "[DreamArtist] Concept step"]


class TestRegistering:
    def test_axes_are_added_once(self, database):
        module = plot()
        scripts = SimpleNamespace(
            scripts_data=[SimpleNamespace(module=ModuleType("x")), SimpleNamespace(module=module)]
        )
        for _ in range(3):
            xyz.register(scripts)
        assert labels(module) == ["Nothing", *OURS]

    def test_a_new_module_after_reload_ui_gets_them_too(self, database):
        for module in (plot(), plot()):
            xyz.register(SimpleNamespace(scripts_data=[SimpleNamespace(module=module)] * 2))
            assert labels(module) == ["Nothing", *OURS]

    def test_without_a_plot_nothing_happens(self, database):
        xyz.register(SimpleNamespace(scripts_data=[]))

    def test_no_steps_where_embeddings_are_kept_elsewhere(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "modules", SimpleNamespace(sd_hijack=SimpleNamespace(model_hijack=object())))
        assert [axis.label for axis in xyz.axes(Axis)] == OURS[:2]


@pytest.fixture
def axes(database):
    return dict(zip(("strength", "half", "step"), xyz.axes(Axis), strict=True))


def cell(p, *changes):
    """As the plot makes one."""
    changed = copy.copy(p)
    for axis, value in changes:
        axis.confirm(p, [value])
        axis.apply(changed, value, [value])
    return changed


class TestStrength:
    def test_it_is_on_the_cell_alone(self, axes, database):
        p = Processing(database)
        assert cell(p, (axes["strength"], 0.5)).dreamartist_strength == 0.5
        assert not hasattr(p, "dreamartist_strength")

    def test_positive_only_is_that_whatever_the_other_axis_says(self, axes, database):
        p, half, strength = Processing(database), (axes["half"], "positive only"), (axes["strength"], 0.5)
        assert cell(p, half).dreamartist_strength == 0
        assert cell(p, half, strength).dreamartist_strength == 0
        assert cell(p, strength, half).dreamartist_strength == 0
        assert cell(p, (axes["half"], "pair"), strength).dreamartist_strength == 0.5
        assert not hasattr(cell(p, (axes["half"], "pair")), "dreamartist_strength")

    @pytest.mark.parametrize("value", [-0.1, 2.5, float("nan")])
    def test_out_of_range(self, axes, value):
        with pytest.raises(DreamArtistError, match="must be from 0 to 2"):
            axes["strength"].confirm(None, [1.0, value])

    def test_choices(self, axes):
        assert axes["half"].choices() == ["pair", "positive only"]
        with pytest.raises(DreamArtistError, match='got "both"'):
            axes["half"].confirm(None, ["both"])


def state(database):
    return dict(database.word_embeddings), {first: list(entries) for first, entries in database.ids_lookup.items()}


class TestStep:
    def test_choices_are_the_kept_steps_of_words_in_use(self, axes):
        assert axes["step"].choices() == ["cat 10", "cat 20", "dog 20"]

    @pytest.mark.parametrize("value", ["cat", "10 cat", "", "cat -1", "../cat 10", "cat 11", "cow 10", "11"])
    def test_there_is_no_such_step(self, axes, value):
        with pytest.raises(DreamArtistError, match=r"write a name|no saved step|a saved step"):
            axes["step"].confirm(None, [value])

    @pytest.mark.parametrize(
        ("value", "cat", "dog"), [("cat 10", 10, 99), ("CAT 20", 20, 99), ("20", 20, 20), ("10", 10, 99)]
    )
    def test_prompts_are_encoded_with_that_steps_vectors_only(self, axes, database, value, cat, dog):
        p = Processing(database)
        before, files = state(database), dict(vars(p))
        changed = cell(p, (axes["step"], value))
        assert state(database) == before, "nothing is registered before the prompts are encoded"
        changed.setup_conds()
        for seen in (changed.seen, changed.hr_seen):
            assert {word: vec[0][0] for word, vec in seen.items()} == {
                "cat": cat,
                "cat-neg": -cat,
                "dog": dog,
                "dog-neg": -dog,
            }
        assert state(database)[0] == before[0]
        assert {key: len(entries) for key, entries in state(database)[1].items()} == {"c": 2, "d": 2}
        assert vars(p) == files
        assert type(p) is Processing

    def test_the_database_is_as_before_after_an_error(self, axes, database):
        p = Processing(database)
        p.fails = True
        before = database.word_embeddings.copy()
        changed = cell(p, (axes["step"], "cat 10"))
        with pytest.raises(RuntimeError, match="no memory"):
            changed.setup_conds()
        assert database.word_embeddings == before

    def test_cells_share_no_cache(self, axes, database):
        p = Processing(database)
        p.cached_c[:] = ["a cat", "encoded"]
        changed = cell(p, (axes["step"], "cat 10"))
        assert changed.cached_c == changed.cached_hr_c == [None, None]
        assert p.cached_c == ["a cat", "encoded"]
        Processing.cached_c[:] = [None, None]

    def test_copies_of_a_cell_encode_as_it_does(self, axes, database):
        changed = copy.copy(cell(Processing(database), (axes["step"], "cat 10")))
        changed.setup_conds()
        assert changed.seen["cat"][0][0] == 10
        assert isinstance(changed, Processing)

    def test_two_axes_of_two_concepts(self, axes, database):
        changed = cell(Processing(database), (axes["step"], "cat 10"), (axes["step"], "dog 20"))
        changed.setup_conds()
        assert (changed.seen["cat"][0][0], changed.seen["dog"][0][0]) == (10, 20)

    def test_the_infotext_says_it(self, axes, database):
        p = Processing(database)
        changed = cell(p, (axes["step"], "20"), (axes["step"], "cat 10"))
        for prompt, said in (("a cat", "cat 10"), ("a Cat and a dog", "cat 10, dog 20"), ("a cat-like cow", None)):
            changed.prompts = [prompt]
            changed.setup_conds()
            assert changed.extra_generation_params.get("DreamArtist step") == said, "of what is in the prompt alone"
        assert p.extra_generation_params == {}

    def test_the_infotext_can_have_the_hashes_of_the_steps_files(self, axes, database, tmp_path):
        changed = cell(Processing(database), (axes["step"], "cat 10"))
        changed.setup_conds()
        folder = RunFiles(tmp_path / "embeddings", "cat").folder
        stems = {"cat": "cat-000010", "cat-neg": "cat-000010-neg"}
        files = {word: (folder / f"{stem}.pt").read_bytes() for word, stem in stems.items()}
        assert changed.hashes == {word: hashlib.sha256(content).hexdigest() for word, content in files.items()}

    def test_vectors_of_another_kind_of_model_are_not_registered(self, axes, database):
        database.expected_shape = WIDTH + 1
        changed = cell(Processing(database), (axes["step"], "cat 10"))
        changed.setup_conds()
        assert changed.seen["cat"][0][0] == 99

    def test_a_word_that_is_gone_meanwhile_is_unregistered_again(self, axes, database):
        changed = cell(Processing(database), (axes["step"], "cat 10"))
        database.register_embedding_by_name(None, None, "cat")
        changed.setup_conds()
        assert changed.seen["cat"][0][0] == 10
        assert "cat" not in database.word_embeddings
