"""python -m tools.embedded_model STAGE --work build/embedded-model ...; see `make embedded-model`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from . import codes, drawings, export, inversion, latents, measure, routing, share, tokenizer, unet, vae, views, world

STAGES = (
    *("render", "vae", "decoder", "tokenizer", "latents", "unet", "export", "measure", "references", "inversion"),
    "world",
)
WIDE_STAGES = ("render-wide", "latents-wide", "views", "scenes", "codes", "route", "export-codes", "share")
WIDE = "wide"  # folder of the many drawings, in the work folder


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the embedded model, a stage at a time.")
    parser.add_argument("stage", choices=STAGES + WIDE_STAGES)
    parser.add_argument("--work", type=Path, default=Path("build/embedded-model"))
    parser.add_argument("--icons", type=Path, help="render: folder of the @iconify-json packages")
    parser.add_argument("--minutes", type=float, default=60, help="vae, decoder, unet, codes: how long to train")
    parser.add_argument("--init", type=Path, help="vae: weights to start from; unet: exported model; route: snapshot")
    parser.add_argument("--merges", type=Path, help="tokenizer: CLIP's bpe_simple_vocab_16e6.txt.gz")
    parser.add_argument("--snapshot", default="unet.pt", help="unet: file in the work folder, continued if it exists")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--widths", type=int, nargs="+", default=[96, 192])
    parser.add_argument("--attention", type=int, nargs="+", default=[1], help="unet: levels that see the text")
    parser.add_argument("--model", type=Path, help="the exported folder: to measure or, for codes, to begin with")
    parser.add_argument("--concepts", nargs="+", help="inversion, share: the held-out things to learn; all if left out")
    parser.add_argument("--backgrounds", type=int, default=4, help="latents-wide: of each drawing")
    parser.add_argument("--by-vae", type=int, default=1800, help="latents-wide: pictures that the VAE itself encodes")
    parser.add_argument("--scenes", type=int, default=10000, help="scenes: how many to paint and encode")
    parser.add_argument("--fit-steps", type=int, default=1500, help="latents-wide, views: of the VAE's stand-in")
    parser.add_argument(
        "--fall-from", type=float, default=1.0, help="codes: share of the time after which the rate falls"
    )
    parser.add_argument("--words", type=float, default=1 / 3, help="codes: share of captions in words")
    parser.add_argument("--scene-share", type=float, default=0.0, help="codes: share of pictures that are scenes")
    parser.add_argument("--known", type=float, default=0.6, help="codes: share of these about things it knows well")
    parser.add_argument("--whole", action="store_true", help="codes: every level of the U-Net sees the text")
    parser.add_argument("--device", default="cpu", help="codes: where to train, such as cuda")
    parser.add_argument("--workers", type=int, default=0, help="codes: processes that make captions beside a GPU")
    parser.add_argument(
        "--gentle", type=float, default=1.0, help="codes: a factor of the rates of what is trained already"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="share: of the inversion")
    parser.add_argument("--ways", nargs="+", default=share.WAYS, choices=share.WAYS, help="share: output is its end")
    parser.add_argument("--steps", type=int, default=300, help="share: of the inversion")
    parser.add_argument("--rate", type=float, default=0.05, help="share: of the inversion")
    parser.add_argument("--output-rate", type=float, default=0.05, help="share: of free encoder output")
    parser.add_argument("--negative-rate", type=float, default=1.0, help="share: the negative's share of the rate")
    parser.add_argument("--start", default="emoji", help="share: the words that vectors start from")
    parser.add_argument("--after", default="", help="share: what stands after the word in the prompts it is learned in")
    parser.add_argument("--guidance", type=float, default=6.0, help="share: of the drawings")
    parser.add_argument("--drawn", type=int, default=4, help="share: drawings of each, and twice as many on colours")
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
    elif arguments.stage in (
        "render-wide",
        "latents-wide",
        "views",
        "scenes",
        "codes",
        "route",
        "export-codes",
        "share",
    ):
        run_wide(arguments)
    elif arguments.stage == "world":
        run_world(arguments)
    elif arguments.stage == "measure":
        measure.measure(arguments.model, work, arguments.out, arguments.threads)


def run_world(arguments: argparse.Namespace) -> None:
    world.measure_known(arguments.model, arguments.work / WIDE, arguments.out)
    if (words := arguments.out / "words.pt").exists():
        world.measure_learned(arguments.model, arguments.work, words, arguments.out)


def run_wide(arguments: argparse.Namespace) -> None:
    """The stages of the inhabited word space."""
    folder, snapshot = arguments.work / WIDE, arguments.work / arguments.snapshot
    if arguments.stage == "render-wide":
        drawings.render(arguments.icons, folder, drawings.wide_names())
    elif arguments.stage == "latents-wide":
        latents.grow(folder, arguments.model, arguments.backgrounds, arguments.by_vae, arguments.fit_steps)
    elif arguments.stage == "views":
        views.make(folder, fit_steps=arguments.fit_steps)
    elif arguments.stage == "scenes":
        latents.encode_scenes(folder, arguments.model, arguments.scenes)
    elif arguments.stage == "codes":
        mix = codes.Mix(arguments.words, arguments.known, arguments.gentle, arguments.scene_share)
        where = {"whole": arguments.whole, "device": arguments.device, "workers": arguments.workers}
        given = (folder, arguments.model, snapshot, arguments.minutes, arguments.batch, arguments.fall_from)
        codes.train(*given, mix=mix, **where)
    elif arguments.stage == "route":
        routing.route(folder, arguments.model, arguments.work / arguments.init, snapshot)
    elif arguments.stage == "export-codes":
        codes.export(folder, arguments.model, snapshot, arguments.out)
    else:
        rates = {"rate": arguments.rate, "negative_rate": arguments.negative_rate}
        rates["output_rate"] = arguments.output_rate
        budget = share.Budget(steps=arguments.steps, drawn=arguments.drawn, guidance=arguments.guidance, **rates)
        things = arguments.concepts or sorted(drawings.HELD_OUT)
        rest = (arguments.seeds, arguments.ways, arguments.start, budget, arguments.after)
        share.measure_share(arguments.model, arguments.work / "references", arguments.out, things, *rest)


if __name__ == "__main__":
    main()
