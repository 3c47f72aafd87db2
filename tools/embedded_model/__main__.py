"""python -m tools.embedded_model STAGE --work build/embedded-model ..."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from . import drawings, vae


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the embedded model, a stage at a time.")
    parser.add_argument("stage", choices=("render", "vae", "decoder"))
    parser.add_argument("--work", type=Path, default=Path("build/embedded-model"))
    parser.add_argument("--icons", type=Path, help="folder of the @iconify-json packages")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--init", type=Path, help="weights to start the VAE from")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    work = arguments.work
    if arguments.stage == "render":
        drawings.render(arguments.icons, work)
    elif arguments.stage == "vae":
        vae.train(work, work / "vae.safetensors", arguments.minutes, arguments.init, decoder_only=False)
    elif arguments.stage == "decoder":
        vae.train(work, work / "vae.safetensors", arguments.minutes, work / "vae.safetensors", decoder_only=True)


if __name__ == "__main__":
    main()
