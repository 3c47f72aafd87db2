"""The whole training with codes on a machine with a GPU, in minutes: `pack` here, `train` there.

Such a machine may reach nothing. So the drawings travel with the repository, as icons in one file; pictures, latents
and scenes are made there; and the model comes back in parts that are small enough. `make embedded-model-gpu` packs.

    python -m tools.embedded_model.on_gpu pack --work WORK --icons ICONS --out build/embedded-model-gpu
    python -m tools.embedded_model.on_gpu train --drawings build/embedded-model-gpu/drawings.zip --out OUT
    python -m tools.embedded_model.on_gpu join --parts OUT --model FOLDER
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import shutil
import tarfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dreamartist_ext.hosts.diffusers.model_files import EMBEDDED_MODEL

from . import codes, drawings, latents, routing, share, views, world

PART_BYTES = 15 * 2**20
PART = "model.tar.{}"  # three digits


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("pack", "train", "join"))
    parser.add_argument("--work", type=Path, help="pack: the work folder, after render-wide and references")
    parser.add_argument("--icons", type=Path, help="pack: folder of the @iconify-json packages")
    parser.add_argument("--drawings", type=Path, help="train: what pack made")
    parser.add_argument(
        "--model", type=Path, default=EMBEDDED_MODEL, help="train: the model to begin with; join: where to"
    )
    parser.add_argument("--parts", type=Path, help="join: where the parts lie")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--minutes", type=float, default=5.5, help="train: of the training itself")
    parser.add_argument("--before", type=float, default=0.25, help="train: of these, the share before heads are set")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rate", type=float, default=4.0, help="train: a factor of the rates for a batch of 32")
    parser.add_argument("--backgrounds", type=int, default=10, help="train: of each drawing")
    parser.add_argument("--scenes", type=int, default=60000)
    parser.add_argument("--scene-share", type=float, default=0.4)
    parser.add_argument("--words", type=float, default=0.4, help="train: share of captions in words")
    parser.add_argument("--steps", type=int, default=300, help="train: of each inversion that is measured; 0 for none")
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/embedded-model"), help="train: latents, snapshot")
    given = parser.parse_args(arguments)
    if given.stage == "pack":
        pack(given.work, given.icons, given.out)
    elif given.stage == "join":
        join(given.parts, given.model)
    else:
        train(given)


def pack(work: Path, icons: Path, out: Path) -> Path:
    """The icons of all training drawings and the held-out references as one file."""
    out.mkdir(parents=True, exist_ok=True)
    labels = json.loads((work / "wide" / "labels.json").read_text())
    svgs = drawings.svgs(icons, [tuple(label) for label in labels])
    path = out / "drawings.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("drawings.json", json.dumps({"labels": labels, "svgs": svgs}))
        for reference in sorted((work / "references").glob("*.png")):
            packed.write(reference, f"references/{reference.name}")
    print(f"{len(labels)} drawings, {path.stat().st_size / 2**20:.1f} MiB")
    return path


def unpack(packed: Path, work: Path, workers: int = 1) -> None:
    """As render-wide and references leave them."""
    folder = work / "wide"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(packed) as file:
        given = json.loads(file.read("drawings.json"))
        for name in file.namelist():
            if name.startswith("references/"):
                file.extract(name, work)
    with multiprocessing.Pool(max(1, workers)) as pool:
        rgba = np.stack(pool.map(drawings.rasterised, given["svgs"], chunksize=16))
    np.save(folder / "rgba.npy", rgba)
    (folder / "labels.json").write_text(json.dumps(given["labels"]))


def train(given: argparse.Namespace) -> None:
    """Everything there; to `out`: the model in parts, figures, and contact sheets."""
    started, work, device = time.monotonic(), given.scratch, given.device
    given.out.mkdir(parents=True, exist_ok=True)

    def say(what: str) -> None:
        print(f"{time.monotonic() - started:.0f} s: {what}", flush=True)

    unpack(given.drawings, work, workers=given.workers)
    folder = work / "wide"
    say("drawings")
    everything = len(drawings.load(folder).labels) * given.backgrounds
    latents.grow(folder, given.model, given.backgrounds, everything, 0, device=device, workers=given.workers)
    say(f"{everything} latents")
    views.make(folder, encode=latents.encoder(given.model, device))
    say("views")
    latents.encode_scenes(folder, given.model, given.scenes, device=device, workers=given.workers)
    say(f"{given.scenes} scenes")
    mix = codes.Mix(words=given.words, known=0.6, rate=given.rate, scenes=given.scene_share)
    where = {"whole": True, "device": device, "workers": given.workers}
    first, snapshot, made = work / "codes.pt", work / "routed.pt", work / "model"
    codes.train(folder, given.model, first, given.minutes * given.before, given.batch, mix=mix, **where)
    routing.route(folder, given.model, first, snapshot)
    say("heads are set")
    rest = given.minutes * (1 - given.before)
    codes.train(folder, given.model, snapshot, rest, given.batch, fall_from=0.6, mix=mix, **where)
    say(f"step {codes.export(folder, given.model, snapshot, made)}")
    split(made, given.out)
    say("the model is in parts")
    if given.steps:
        budget = share.Budget(steps=given.steps, output_rate=0.0016, guidance=4.0, negative_rate=0.3)
        things, rest = (
            sorted(drawings.HELD_OUT),
            {"start": " ".join(codes.START_WORDS), "after": share.WHITE, "budget": budget, "device": device},
        )
        share.measure_share(made, work / "references", work / "share", things, **rest)
        say("share of the way")
        world.measure_known(made, folder, work / "world", device=device)
        say("what prompts rule over")
        for path in (*(work / "share").glob("share.*"), *(work / "world").glob("known.*")):
            shutil.copy(path, given.out)


def split(folder: Path, out: Path) -> list[Path]:
    """A model folder as parts of one archive, none larger than PART_BYTES."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        archive.add(folder, arcname=".")
    content = whole.getvalue()
    parts = []
    for number, start in enumerate(range(0, len(content), PART_BYTES)):
        parts.append(out / PART.format(f"{number:03}"))
        parts[-1].write_bytes(content[start : start + PART_BYTES])
    return parts


def join(parts: Path, folder: Path) -> None:
    """The model folder again."""
    content = b"".join(path.read_bytes() for path in sorted(parts.glob(PART.format("*"))))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")


if __name__ == "__main__":
    main()
