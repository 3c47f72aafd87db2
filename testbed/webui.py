"""A real AUTOMATIC1111 with this repository as its extension and the embedded model as its checkpoint."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kinds import A1111, Kind

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "dreamartist_ext" / "assets" / "model"
WEBUI = A1111.home
PATIENCE = float(os.environ.get("DREAMARTIST_PATIENCE", "1"))  # times every deadline, for a machine with other work
START_SECONDS = 400 * PATIENCE
PROMPT = "a noto emoji of a lion"
# SD.Next breaks the lines of its log otherwise, and tries a compiler out at every start.
OF_SDNEXT = {"COLUMNS": "1000", "TORCHDYNAMO_DISABLE": "1"}
IS_UP = "Startup time:"  # a line of its log; a request before that can end its start ("Cannot add middleware")


@dataclass
class RunningWebUI:
    url: str
    data: Path
    log: Path
    process: subprocess.Popen
    kind: Kind = A1111

    @property
    def embeddings(self) -> Path:
        return self.data / "models" / "embeddings" if self.kind.marker == "sdnext" else self.data / "embeddings"

    def starts(self) -> int:
        """How often the page was built."""
        return self.log.read_text(errors="replace").count(IS_UP)

    def post(self, path: str, content: Any, timeout: float = 300, auth: str = "") -> Any:
        return self._send(urllib.request.Request(self.url + path, json.dumps(content).encode()), timeout, auth)

    def get(self, path: str, timeout: float = 60, auth: str = "") -> Any:
        return self._send(urllib.request.Request(self.url + path), timeout, auth)

    def _send(self, request: urllib.request.Request, timeout: float, auth: str) -> Any:
        request.add_header("Content-Type", "application/json")
        if auth:
            request.add_header("Authorization", "Basic " + base64.b64encode(auth.encode()).decode())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.code} {error.read().decode()[:2000]}") from error

    def status(self, path: str, auth: str = "", content: Any = None) -> int:
        """The HTTP status that a request gets."""
        try:
            self.get(path, auth=auth) if content is None else self.post(path, content, auth=auth)
        except AssertionError as error:
            return int(str(error).split()[0])
        return 200

    def probe(self, function: str, **values: Any) -> Any:
        """Call a function of `probe.py` inside the WebUI's process."""
        answer = self.post(f"/dreamartist-test/{function}", values, timeout=1500)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def picture(self, prompt: str, negative: str = "", **options: Any) -> tuple[bytes, str]:
        """A small picture's PNG pixels as base64 text in bytes, and its infotext."""
        values = {
            "prompt": prompt,
            "negative_prompt": negative,
            "seed": 7,
            "steps": 4,
            "width": 64,
            "height": 64,
            "cfg_scale": 5,
            "sampler_name": "Euler a",
        }
        answer = self.post("/sdapi/v1/txt2img", values | options)
        return pixels(answer["images"][0]), json.loads(answer["info"])["infotexts"][0]


def pixels(image: str) -> bytes:
    """The pixels of a base64 PNG, without its metadata."""
    import io

    from PIL import Image

    return Image.open(io.BytesIO(base64.b64decode(image.split(",")[-1]))).convert("RGB").tobytes()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_data_folder(data: Path, kind: Kind = A1111) -> None:
    """A data folder of its own, so that the user's WebUI keeps its settings, models and embeddings."""
    from dreamartist_ext.hosts.diffusers.single_file import to_single_file

    if kind.checkpoint == "folder":
        _make_sdnext_folder(data)
        return
    models, scripts = data / "models" / "Stable-diffusion", data / "extensions" / "dreamartist-probe" / "scripts"
    for folder in (models, data / "embeddings", scripts):
        folder.mkdir(parents=True)
    if kind.checkpoint == "embedded":
        for name in ("embedded", "second"):
            to_single_file(MODEL, models / f"{name}.safetensors")
        _change_weights(models / "second.safetensors")
    else:
        from .random_checkpoint import tokenizer_of, write_random

        write_random(tokenizer_of(kind.home), data / "random")
        to_single_file(data / "random", models / "random.safetensors")
    (data / "extensions" / "dreamartist").symlink_to(ROOT)
    shutil.copy(Path(__file__).with_name("probe.py"), scripts)
    settings = {"sd_model_checkpoint": f"{kind.checkpoint}.safetensors", "samples_save": False, "grid_save": False}
    settings["live_previews_enable"] = kind.marker == "webui"  # the others fetch a small decoder for them
    (data / "config.json").write_text(json.dumps(settings))
    (data / "styles.csv").write_text('name,prompt,negative_prompt\npets,"{prompt}, cat1",\n')


def _make_sdnext_folder(data: Path) -> None:
    """A copy of the extension: what a link leads to is no file of SD.Next's own, and its page is not given it."""
    extension, scripts = data / "extensions" / "dreamartist", data / "extensions" / "dreamartist-probe" / "scripts"
    for name in ("dreamartist_ext", "javascript", "scripts"):
        shutil.copytree(ROOT / name, extension / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "install.py", extension)
    scripts.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("probe.py"), scripts)
    shutil.copytree(MODEL, data / "models" / "Diffusers" / "embedded")
    (data / "models" / "embeddings").mkdir()
    settings = {"sd_model_checkpoint": "Diffusers/embedded", "samples_save": False, "grid_save": False}
    settings |= {"sd_checkpoint_autodownload": False, "diffusers_offload_mode": "none", "theme_type": "Standard"}
    (data / "config.json").write_text(json.dumps(settings))


def _change_weights(checkpoint: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = {name: tensor.clone() for name, tensor in load_file(checkpoint).items()}
    tensors["model.diffusion_model.out.2.weight"] *= 0.9
    save_file(tensors, checkpoint.with_suffix(".new"))
    checkpoint.with_suffix(".new").replace(checkpoint)


def start(data: Path, *flags: str, kind: Kind = A1111) -> RunningWebUI:
    running = start_process(data, *flags, kind=kind)
    wait_until_up(running)
    return running


def start_process(data: Path, *flags: str, kind: Kind = A1111, **variables: str) -> RunningWebUI:
    """Without waiting for it; `variables` are added to its environment."""
    port = free_port()
    log = data / "log.txt"
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONUNBUFFERED": "1",
        "no_proxy": "127.0.0.1,localhost",
        **(OF_SDNEXT if kind.marker == "sdnext" else {}),
        **variables,
    }
    command = [kind.python, "launch.py", *kind.arguments, "--data-dir", str(data), "--port", str(port), *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=kind.home, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    return RunningWebUI(f"http://127.0.0.1:{port}", data, log, process, kind)


def wait_until_up(webui: RunningWebUI, starts: int = 1) -> None:
    """Until the page was built for the given time and a checkpoint is loaded."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and webui.process.poll() is None:
        if webui.starts() >= starts:
            try:
                webui.probe("ready")
            except (OSError, AssertionError):
                pass
            else:
                return
        time.sleep(0.5)
    webui.process.kill()
    raise RuntimeError("the WebUI did not start:\n" + webui.log.read_text(errors="replace")[-3000:])


@contextmanager
def running(data: Path, *flags: str, kind: Kind = A1111) -> Iterator[RunningWebUI]:
    """A WebUI with these flags, ended on the way out."""
    webui = start(data, *flags, kind=kind)
    try:
        yield webui
    finally:
        webui.process.terminate()
        try:
            webui.process.wait(10)
        except subprocess.TimeoutExpired:
            webui.process.kill()
