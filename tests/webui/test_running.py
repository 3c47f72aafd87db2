"""Which WebUI runs us, told by its packages alone; and one whose model no host knows."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from dreamartist_ext.engine.errors import ModelError
from dreamartist_ext.hosts.a1111.workplace import A1111Workplace
from dreamartist_ext.hosts.forge.workplace import ForgeWorkplace
from dreamartist_ext.hosts.webuis.workplace import UntrainedWorkplace
from dreamartist_ext.webui.running import WebUI, running, standing_for, workplace

ROWS = [
    (("ldm", "sgm"), "", WebUI.AUTOMATIC1111, A1111Workplace),
    (("ldm", "sgm", "modules_forge", "ldm_patched"), "1.0.0v2-v1.10.1RC", WebUI.REFORGE, A1111Workplace),
    (("ldm", "sgm", "modules_forge", "ldm_patched"), "classic", WebUI.CLASSIC, A1111Workplace),
    (("modules_forge", "backend"), "2.0.1v1.10.1", WebUI.FORGE, ForgeWorkplace),
    (("modules_forge", "backend"), "neo", WebUI.NEO, ForgeWorkplace),
    (("installer",), "", WebUI.SDNEXT, UntrainedWorkplace),
    ((), "", WebUI.OTHER, UntrainedWorkplace),
]


@pytest.mark.parametrize(("packages", "version", "webui", "place"), ROWS, ids=[row[2].name for row in ROWS])
def test_each_is_known_by_its_packages_and_gets_its_host(monkeypatch, packages, version, webui, place):
    for name in packages:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    if version:
        monkeypatch.setitem(sys.modules, "modules_forge.forge_version", SimpleNamespace(version=version))
    assert running() is webui
    assert type(workplace()) is place
    assert (standing_for() is None) == (place is UntrainedWorkplace)


@pytest.mark.parametrize("webui", ["SD.Next", "this WebUI"])
def test_where_no_host_is_a_training_says_where_there_is_one_before_any_work(webui):
    place = UntrainedWorkplace(webui)
    for refuse in (lambda: place.gpu("task(a)").__enter__(), place.host):
        with pytest.raises(ModelError, match=f"cannot train in {webui}; train in AUTOMATIC1111, Forge") as refused:
            refuse()
        assert "checkpoint" not in str(refused.value)
    assert place.model_name() == place.chosen_model() == place.clash("mycat") == ""
    assert not place.is_one_token("cat"), "nobody knows"


def test_words_are_read_again_where_the_model_holds_them(monkeypatch):
    read = []
    database = SimpleNamespace(load_textual_inversion_embeddings=lambda force_reload: read.append(force_reload))
    shared = SimpleNamespace(sd_model=SimpleNamespace(embedding_db=database))
    monkeypatch.setitem(sys.modules, "modules", SimpleNamespace(shared=shared))
    UntrainedWorkplace("SD.Next").learned()
    shared.sd_loaded = False
    UntrainedWorkplace("SD.Next").learned()
    assert read == [True], "no model is loaded for it"


def test_the_folder_of_words_is_the_command_lines_or_a_setting(monkeypatch):
    shared = SimpleNamespace(cmd_opts=SimpleNamespace(), opts=SimpleNamespace(embeddings_dir="/settings"))
    monkeypatch.setitem(sys.modules, "modules", SimpleNamespace(shared=shared))
    place = UntrainedWorkplace("SD.Next")
    assert str(place.embeddings) == "/settings"
    assert str(place.templates) == "/textual_inversion_templates"
    shared.cmd_opts.embeddings_dir = "/flags/embeddings"
    assert str(place.embeddings) == "/flags/embeddings"
