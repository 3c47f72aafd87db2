"""Run by test_their_reader.py in the Python of a WebUI: what its own loader reads in each file of a folder.

The loader's files are the WebUI's, word for word; what they import beside torch and Pillow is set aside.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import torch

ASIDE = "sd_hijack sd_models images sd_samplers sd_hijack_checkpoint hashes errors devices shared".split()


def loader(webui: Path) -> tuple[ModuleType, list[str]]:
    """The WebUI's module of embeddings, and the sentences that it reports."""
    sys.path.insert(0, str(webui))
    reported: list[str] = []
    for name in ASIDE:
        sys.modules[f"modules.{name}"] = MagicMock()
    sys.modules["modules.errors"].report = lambda text, exc_info=False: reported.append(text)
    sys.modules["modules.devices"].device = torch.device("cpu")
    sys.modules["modules.shared"].cmd_opts = SimpleNamespace(disable_safe_unpickle=False)
    sys.modules["modules.textual_inversion.dataset"] = MagicMock()
    import modules.safe  # noqa: F401  (it takes the place of torch.load)
    from modules.textual_inversion import textual_inversion

    return textual_inversion, reported


def digests(vec: object) -> dict[str, str]:
    """Of the rows by text encoder, whatever dimensions of 1 stand before them."""
    parts = vec if isinstance(vec, dict) else {"clip": vec}
    found = {}
    for key, tensor in parts.items():
        rows = tensor.detach().float().reshape(-1, tensor.shape[-1]).contiguous()
        found[key] = f"{tuple(rows.shape)} {hashlib.sha256(rows.numpy().tobytes()).hexdigest()}"
    return found


def read(module: ModuleType, reported: list[str], path: Path) -> dict[str, object]:
    database = module.EmbeddingDatabase()
    database.register_embedding = lambda embedding, model: database.word_embeddings.update({"": embedding})
    reported.clear()
    try:
        database.load_from_file(str(path), path.name)
    except Exception as error:
        return {"problem": repr(error)[:300]}
    if "" not in database.word_embeddings:
        return {"problem": "; ".join(reported)[:300] or "nothing"}
    embedding = database.word_embeddings[""]
    return {"word": embedding.name, "vectors": digests(embedding.vec)}


if __name__ == "__main__":
    module, reported = loader(Path(sys.argv[1]))
    found = {path.name: read(module, reported, path) for path in sorted(Path(sys.argv[2]).iterdir())}
    Path(sys.argv[3]).write_text(json.dumps(found))
