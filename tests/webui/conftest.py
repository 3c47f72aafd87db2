"""A real AUTOMATIC1111 for all tests of a session; what needs a checkpoint of every family has its own."""

from __future__ import annotations

import pytest

from testbed.kinds import KINDS, SDNEXT
from testbed.webui import MODEL, PROMPT, WEBUI, make_data_folder, running

EVERY = [pytest.param(kind, id=kind.marker, marks=getattr(pytest.mark, kind.marker)) for kind in KINDS]
AND_SDNEXT = [*EVERY, pytest.param(SDNEXT, id=SDNEXT.marker, marks=pytest.mark.sdnext)]
SIDES = {"embedded": 128, "folder": 128, "random": 64}  # pixels of a training's pictures


@pytest.fixture(autouse=True, scope="session")
def short_previews():
    """Previews were four fifths of what a training on a tiny model takes; two steps of twenty show what twenty do."""
    from dreamartist_ext.webui.training import previews

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(previews, "PREVIEW_STEPS", 2)
        yield


@pytest.fixture(scope="session", params=EVERY)
def anywhere(request, tmp_path_factory):
    """A WebUI of one kind, which has drawn its first picture: Forge loads nothing before."""
    from .forge_families import write_forge_families

    kind = request.param
    if kind.missing:
        pytest.skip(kind.missing)
    data = tmp_path_factory.mktemp(kind.marker)
    make_data_folder(data, kind)
    if kind.marker == "forge":
        write_forge_families(data, MODEL)
    with running(data, "--api", kind=kind) as webui:
        webui.picture(PROMPT)
        yield webui


@pytest.fixture
def small_pictures(anywhere):
    """Comparisons and reports are drawn in the model's own size: 512 pixels of SD 1.5's widths take a core too long."""
    is_large = anywhere.kind.checkpoint == "random"
    anywhere.probe("own_size", side=SIDES["random"] if is_large else 0)
    yield
    anywhere.probe("own_size", side=0)


@pytest.fixture(scope="session")
def webui(tmp_path_factory):
    """Has drawn its first picture as well, so that no test's state depends on whether another one drew before it."""
    if not (WEBUI / "launch.py").is_file():
        pytest.skip(f"no WebUI at {WEBUI}; set WEBUI_DIR to the folder of AUTOMATIC1111 v1.10.1")
    data = tmp_path_factory.mktemp("webui")
    make_data_folder(data)
    with running(data, "--api") as webui:
        webui.picture(PROMPT)
        yield webui


@pytest.fixture(scope="session")
def families(tmp_path_factory):
    """A WebUI with a checkpoint of every family, and in `parts` the same weights for the standalone host."""
    from .family_folder import write_families

    if not (WEBUI / "launch.py").is_file():
        pytest.skip(f"no WebUI at {WEBUI}; set WEBUI_DIR to the folder of AUTOMATIC1111 v1.10.1")
    data = tmp_path_factory.mktemp("families")
    parts = write_families(data)
    with running(data, "--api") as webui:
        webui.parts = parts
        webui.picture(PROMPT)
        yield webui


@pytest.fixture
def words(families):
    """mysd1, mysd2 and mysdxl with their negatives, each of its own family."""
    from .family_folder import write_words

    written = write_words(families.embeddings)
    families.post("/sdapi/v1/refresh-embeddings", {})
    yield families
    for path in written:
        path.unlink()
    families.post("/sdapi/v1/refresh-embeddings", {})
