"""Our files in a real AUTOMATIC1111, with its safe unpickler on; My concepts in every WebUI's page."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.card import card_bytes
from dreamartist_ext.files.storage import save_pair
from testbed.embedded import WIDTH
from testbed.webui import make_data_folder, running

from ..test_page import browser, opened  # noqa: F401 (fixtures)
from .concept_files import (
    concepts_page,
    draw,
    import_folder,
    refuse_and_replace,
    rename_delete_undo,
    reunite_and_unpack,
    share_and_import,
)
from .test_files_page import pair_of

WIDTHS = {"embedded": WIDTH, "random": 768}  # of a checkpoint's token vectors


def pair_named(name: str, seed: int = 0) -> EmbeddingPair:
    generator = torch.Generator().manual_seed(seed)
    halves = [{"clip": 0.05 * torch.randn(n, WIDTHS["embedded"], generator=generator)} for n in (3, 6)]
    return EmbeddingPair(name, halves[0], halves[1], 123, {"model": "embedded", "model_hash": "0123456789"})


@pytest.mark.webui
def test_every_format_is_loaded_without_the_extension_and_without_a_flag(tmp_path):
    make_data_folder(tmp_path / "data")
    (tmp_path / "data" / "extensions" / "dreamartist").unlink()
    embeddings = tmp_path / "data" / "embeddings"
    save_pair(pair_named("aspt"), embeddings, ".pt")
    save_pair(pair_named("assafe"), embeddings, ".safetensors")
    (embeddings / "posted.png").write_bytes(card_bytes(pair_named("ascard"), Image.new("RGB", (64, 64), "teal")))
    with running(tmp_path / "data", "--api") as webui:
        loaded = webui.get("/sdapi/v1/embeddings")["loaded"]
        assert {name: about["vectors"] for name, about in loaded.items()} == {
            "aspt": 3,
            "aspt-neg": 6,
            "assafe": 3,
            "assafe-neg": 6,
            "ascard": 3,
        }
        for name in ("aspt", "ascard"):
            about = loaded[name]
            assert (about["step"], about["sd_checkpoint"], about["sd_checkpoint_name"]) == (
                123,
                "0123456789",
                "embedded",
            )
        drawn = {name: webui.picture(name)[0] for name in ("aspt", "assafe", "ascard", "nothing")}
        assert drawn["aspt"] == drawn["assafe"] == drawn["ascard"] != drawn["nothing"]
        log = webui.log.read_text(errors="replace")
        assert "Error loading embedding" not in log
        assert "unpickl" not in log.lower()


@pytest.mark.browser
@pytest.mark.usefixtures("small_pictures")
def test_my_concepts_in_its_page(anywhere, browser, tmp_path):  # noqa: F811
    width, embeddings = WIDTHS[anywhere.kind.checkpoint], anywhere.embeddings
    before = set(embeddings.iterdir())
    save_pair(pair_of("mycat", width=width), embeddings)
    positive, _ = save_pair(pair_of("dog", 3, width=width), embeddings)
    positive.rename(embeddings / "hound.pt")
    (embeddings / "packed.png").write_bytes(card_bytes(pair_of("packed", 5, width=width), Image.new("RGB", (64, 64))))
    with concepts_page(browser, anywhere.url, opened) as page:
        share_and_import(page, tmp_path, embeddings, "mycat", pair_of("mycat", width=width))
        refuse_and_replace(page, tmp_path, embeddings, pair_of("other", 7, width=width))
        rename_delete_undo(page, embeddings)
        reunite_and_unpack(page, embeddings, "hound", "packed")
        import_folder(page, tmp_path / "folder", pair_of("infolder", 9, width=width))
        if anywhere.kind.marker != "forge":
            draw(page, embeddings, "tom")
        assert not page.problems
    for name in ("mycat", "fromcard", "tom", "hound", "packed"):
        for half in (name, f"{name}-neg"):
            assert anywhere.probe("vectors", name=half) is not None, half
    for path in set(embeddings.iterdir()) - before:
        path.unlink()
    anywhere.probe("reload_embeddings")
