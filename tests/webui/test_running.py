"""Which WebUI runs us, told by its packages alone; and one whose model no host knows."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from dreamartist_ext.engine.errors import ModelError
from dreamartist_ext.hosts.a1111.workplace import A1111Workplace
from dreamartist_ext.hosts.forge.workplace import ForgeWorkplace
from dreamartist_ext.hosts.sdnext.workplace import SDNextWorkplace
from dreamartist_ext.hosts.webuis.workplace import UntrainedWorkplace
from dreamartist_ext.webui.running import WebUI, running, standing_for, workplace

ROWS = [
    (("ldm", "sgm"), "", WebUI.AUTOMATIC1111, A1111Workplace),
    (("ldm", "sgm", "modules_forge", "ldm_patched"), "1.0.0v2-v1.10.1RC", WebUI.REFORGE, A1111Workplace),
    (("ldm", "sgm", "modules_forge", "ldm_patched"), "classic", WebUI.CLASSIC, A1111Workplace),
    (("modules_forge", "backend"), "2.0.1v1.10.1", WebUI.FORGE, ForgeWorkplace),
    (("modules_forge", "backend"), "neo", WebUI.NEO, ForgeWorkplace),
    (("installer",), "", WebUI.SDNEXT, SDNextWorkplace),
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
    assert (standing_for() is None) == (place in (UntrainedWorkplace, SDNextWorkplace))


def test_where_no_host_is_a_training_says_where_there_is_one_before_any_work():
    place = UntrainedWorkplace("this WebUI")
    for refuse in (lambda: place.gpu("task(a)").__enter__(), place.host):
        with pytest.raises(ModelError, match="cannot train in this WebUI; train in AUTOMATIC1111, Forge") as refused:
            refuse()
        assert "checkpoint" not in str(refused.value)
    assert place.model_name() == place.chosen_model() == place.clash("mycat") == ""
    assert not place.is_one_token("cat"), "nobody knows"


def test_the_folder_of_words_is_the_one_that_the_webui_reads(monkeypatch):
    """SD.Next goes by its settings even where its command line names another folder; the others have no setting."""
    shared = SimpleNamespace(cmd_opts=SimpleNamespace(embeddings_dir="/flags/embeddings"), opts=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "modules", SimpleNamespace(shared=shared))
    place = UntrainedWorkplace("this WebUI")
    assert str(place.embeddings) == "/flags/embeddings"
    shared.opts.embeddings_dir, shared.opts.data_labels = "/settings", {}
    assert str(place.embeddings) == "/flags/embeddings", "from SD.Next's config.json, which another was started with"
    shared.opts.data_labels = {"embeddings_dir": None}
    assert str(place.embeddings) == "/settings"
    assert str(place.templates) == "/textual_inversion_templates"
