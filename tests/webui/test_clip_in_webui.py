"""CLIP by the open_clip that the WebUI itself has installed; random weights, since none come with it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from testbed.webui import WEBUI

SCRIPT = """
import json, sys
from pathlib import Path
import open_clip, torch
from PIL import Image
from dreamartist_ext.files.picture_files import to_pixels
from dreamartist_ext.evaluation.clip import ClipNet
from torch.nn.functional import normalize

folder, model = Path(sys.argv[1]), "tiny-test"
vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8}
text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
(folder / "tiny-test.json").write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
open_clip.add_model_config(folder)
torch.manual_seed(0)
theirs, _, preprocess = open_clip.create_model_and_transforms(model, pretrained=None)
theirs.eval()
torch.save(theirs.state_dict(), folder / "clip.pt")
ours = ClipNet(folder / "clip.pt", model)
noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255
picture = Image.fromarray(noise.permute(1, 2, 0).byte().numpy())
prompts = ["a cat", "a red house on a hill"]
with torch.no_grad():
    seen = normalize(theirs.encode_image(preprocess(picture)[None]), dim=1)
    read = normalize(theirs.encode_text(open_clip.tokenize(prompts)), dim=1)
found = {
    "pictures": float((ours.pictures(to_pixels(picture)[None]) * seen).sum()),
    "texts": (ours.texts(prompts) * read).sum(dim=1).tolist(),
    "other text": float((ours.texts(prompts)[0] * read[1]).sum()),
}
print(json.dumps(found))
"""


@pytest.mark.webui
def test_pictures_and_texts_are_seen_as_open_clip_sees_them(tmp_path):
    python = Path(os.environ.get("WEBUI_PYTHON", WEBUI / "venv" / "bin" / "python"))
    if not python.exists():
        pytest.skip(f"no WebUI at {WEBUI}; set WEBUI_DIR to the folder of AUTOMATIC1111 v1.10.1")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [python, "-c", SCRIPT, tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["pictures"] > 0.999  # their resizing rounds to whole greys
    assert min(found["texts"]) > 0.99999
    assert found["other text"] < 0.9999
