"""python -m tools.embedded_model STAGE --work build/embedded-model ...; see `make embedded-model`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from . import drawings, export, inversion, latents, measure, tokenizer, unet, vae

STAGES = ("render", "vae", "decoder", "tokenizer", "latents", "unet", "export", "measure", "references", "inversion")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the embedded model, a stage at a time.")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--work", type=Path, default=Path("build/embedded-model"))
    parser.add_argument("--icons", type=Path, help="render: folder of the @iconify-json packages")
    parser.add_argument("--minutes", type=float, default=60, help="vae, decoder, unet: how long to train")
    parser.add_argument("--init", type=Path, help="vae: weights to start from; unet: exported model")
    parser.add_argument("--merges", type=Path, help="tokenizer: CLIP's bpe_simple_vocab_16e6.txt.gz")
    parser.add_argument("--snapshot", default="unet.pt", help="unet: file in the work folder, continued if it exists")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--widths", type=int, nargs="+", default=[96, 192])
    parser.add_argument("--attention", type=int, nargs="+", default=[1], help="unet: levels that see the text")
    parser.add_argument("--model", type=Path, help="measure: the exported folder")
    parser.add_argument("--concepts", nargs="+", help="inversion: the held-out things to learn; all if left out")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="inversion: settings of the training"
    )
    parser.add_argument("--out", type=Path, help="export, measure: where to")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    run(arguments)


def run(arguments: argparse.Namespace) -> None:
    work, minutes = arguments.work, arguments.minutes
    if arguments.stage == "render":
        drawings.render(arguments.icons, work)
    elif arguments.stage == "vae":
        vae.train(work, work / "vae.safetensors", minutes, arguments.init, decoder_only=False)
    elif arguments.stage == "decoder":
        vae.train(work, work / "vae.safetensors", minutes, work / "vae.safetensors", decoder_only=True)
    elif arguments.stage == "tokenizer":
        tokenizer.write_tokenizer(arguments.merges, work / "tokenizer")
    elif arguments.stage == "latents":
        latents.cache(work)
    elif arguments.stage == "unet":
        shape = {"widths": tuple(arguments.widths), "attention": tuple(arguments.attention)}
        snapshot, init = work / arguments.snapshot, arguments.init
        unet.train(work, snapshot, minutes, arguments.batch, arguments.lr, init=init, **shape)
    elif arguments.stage == "export":
        export.export(work, arguments.out)
    elif arguments.stage == "references":
        drawings.render_references(arguments.icons, work / "references")
    elif arguments.stage == "inversion":
        concepts = arguments.concepts or sorted(drawings.HELD_OUT)
        settings = dict(setting.split("=", 1) for setting in arguments.set)
        inversion.measure_inversion(arguments.model, work / "references", arguments.out, concepts, [5.0], settings)
    elif arguments.stage == "measure":
        measure.measure(arguments.model, work, arguments.out, arguments.threads)


if __name__ == "__main__":
    main()
