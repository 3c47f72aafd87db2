"""Does a discriminator help a pair? A head trained on the fly, against none, on held-out drawings.

The original's "classifier path" pushes the decoded prediction with an image classifier that tells real from
generated. Here a small head learns meanwhile to tell the picture's latents from the ones that the pair's prediction
implies, and the pair learns to deceive it as well. The engine is used as it is.

    python -m tools.study.discriminator --references FOLDER --work FOLDER
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.parametrizations import spectral_norm

from dreamartist_ext.engine.check_loss import CheckLoss
from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.host import DiffusionHost
from dreamartist_ext.engine.latents import EncodedPictures
from dreamartist_ext.engine.noise import noisy_end_weight, predict_x0
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.evaluation.intervals import bootstrap
from dreamartist_ext.files.atomic import write_atomically
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.hosts.diffusers.model_files import load_host, quiet_libraries, training_defaults

from .arms import concepts_named
from .run import WORD, Protocol, Study, row_of
from .table import FIGURES, by_concept, shown

ARMS = {"none": ("", 0.0), "latents 0.1": ("latents", 0.1), "latents 0.5": ("latents", 0.5), "unet 0.5": ("unet", 0.5)}
ALONE = 25  # steps in which the head learns and the pair does not hear it yet
SHIFT = 2  # latents by which real and predicted ones are moved about, so that one picture is not learned by heart
HEAD_RATE, HEAD_BETAS = 1e-3, (0.0, 0.99)
FEATURE_TIMESTEP = 50  # of 1000: nearly no noise, as the latents that are shown have none
COLUMNS = (*FIGURES, "check_loss", "head_right", "seconds_per_step")


class EnoughError(Exception):
    """The features are there; the rest of the network is not needed."""

    def __init__(self, features: Tensor) -> None:
        self.features = features


def middle_features(host: Any, latents: Tensor) -> Tensor:
    """Latents (B, 4, h, w) -> what the frozen U-Net's middle block makes of them, (B, C, h', w'), differentiable."""

    def stop(module: nn.Module, inputs: Any, output: Tensor) -> None:
        raise EnoughError(output)

    timesteps = torch.full((len(latents),), FEATURE_TIMESTEP, device=latents.device)
    handle = host.parts.unet.mid_block.register_forward_hook(stop)
    try:
        host.predict(latents, timesteps, host.encode_prompts([""] * len(latents)))
    except EnoughError as found:
        return found.features.float()
    finally:
        handle.remove()
    raise AssertionError("the U-Net has no middle block")


def made_head(channels: int) -> nn.Module:
    """Real (above 0) or not, patch by patch: (B, channels + 1, h, w) -> (B, 1, h', w'); the added channel says how much
    signal the prediction was made from."""
    return nn.Sequential(
        spectral_norm(nn.Conv2d(channels + 1, 32, 3, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(32, 64, 3, stride=2, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(64, 1, 1)),
    )


class Adversary:
    """The head, and the term that it adds to the pair's loss in the place of the reconstruction."""

    def __init__(self, host: DiffusionHost, config: TrainConfig, kind: str, weight: float) -> None:
        self.host, self.config, self.kind, self.weight = host, config, kind, weight
        self.generator = torch.Generator().manual_seed(config.seed)
        self.right: list[float] = []
        self._real = torch.empty(0)
        self._head: nn.Module | None = None

    def against(self, real: Tensor) -> Adversary:
        """real: the pictures' latents (B, 4, h, w) for the next call of `loss`."""
        self._real = real
        return self

    def loss(self, host: DiffusionHost, noisy_latents: Tensor, model_pred: Tensor, timesteps: Tensor) -> Tensor:
        """-weight * |grad L_noise| / |grad L| * sqrt(abar_t) * mean of D(x0_hat), per sample: (B,). The gradients are
        those by the prediction, so that `weight` is the term's share of the noise loss's own."""
        signal, _ = host.schedule.coefficients(timesteps)
        predicted = predict_x0(host.schedule, noisy_latents, model_pred, timesteps)
        self._learn(predicted.detach(), signal)
        if len(self.right) <= ALONE:
            return torch.zeros_like(signal[:, 0, 0, 0])
        fooled = -signal[:, 0, 0, 0] * self._judge(self._moved(predicted), signal).mean(dim=(1, 2, 3))
        own = torch.autograd.grad(fooled.sum(), model_pred, retain_graph=True)[0].norm()
        share = self._noise_gradient(noisy_latents, model_pred, timesteps).norm() / own.clamp(min=1e-12)
        return self.weight * share.detach() * fooled

    def _noise_gradient(self, noisy_latents: Tensor, model_pred: Tensor, timesteps: Tensor) -> Tensor:
        signal, sigma = self.host.schedule.coefficients(timesteps)
        noise = (noisy_latents - signal * self._real) / sigma  # the embedded model predicts eps
        weight = noisy_end_weight(self.host.schedule, timesteps, self.config.noisy_weight)[:, None, None, None]
        return (2 * weight * (model_pred - noise) / noise[0].numel()).detach()

    def _learn(self, predicted: Tensor, signal: Tensor) -> None:
        """One step of the head by the hinge loss."""
        with torch.enable_grad():
            real = self._judge(self._moved(self._real), torch.ones_like(signal))
            false = self._judge(self._moved(predicted), signal)
            loss = relu(1 - real).mean() + relu(1 + false).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.right.append(float(torch.cat([(real > 0).flatten(), (false < 0).flatten()]).float().mean()))

    def _judge(self, latents: Tensor, signal: Tensor) -> Tensor:
        seen = middle_features(self.host, latents) if self.kind == "unet" else latents
        if self._head is None:
            with torch.random.fork_rng():
                torch.manual_seed(self.config.seed)
                self._head = made_head(seen.shape[1])
            self.optimizer = torch.optim.Adam(self._head.parameters(), HEAD_RATE, HEAD_BETAS)
        return self._head(torch.cat([seen, signal.expand(-1, 1, *seen.shape[2:])], dim=1))

    def _moved(self, latents: Tensor) -> Tensor:
        """The same kind of shift for real and predicted ones, as in arXiv 2006.10738."""
        down, across = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=self.generator).tolist()
        return latents.roll((down, across), dims=(2, 3))


class OpposedTraining(Training):
    """A training whose reconstruction term is an adversary."""

    adversary: Adversary | None = None

    def _reconstruction(
        self, encoded: EncodedPictures, pictures: Sequence[int], masks: Tensor | None, part: slice
    ) -> Any:
        return None if self.adversary is None else self.adversary.against(encoded.latents(pictures))


def trained(study: Study, arm: str, config: TrainConfig, concept: str) -> tuple[Training, dict[str, float]]:
    size = study.host.picture_size
    training = OpposedTraining(study.host, config, load_pictures([study.references / f"{concept}.png"], size, size))
    kind, weight = ARMS[arm]
    if kind:
        training.adversary = Adversary(study.host, config, kind, weight)
    with closing(training.run()) as reports:
        seconds = [report.seconds for report in reports]
    with study.host.session(), study.host.bind(training.pair.named()):
        check = CheckLoss(training)()
    right = training.adversary.right[-50:] if training.adversary else []
    figures = {"check_loss": check.loss / check.baseline, "seconds_per_step": sorted(seconds)[len(seconds) // 2]}
    return training, figures | ({"head_right": sum(right) / len(right)} if right else {})


def run(study: Study, config: dict[str, Any], concepts: Sequence[str], seeds: Sequence[int], guidance: float) -> list:
    """All rows; those of an earlier, interrupted run are taken from `rows.jsonl`."""
    path = study.work / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["arm"], row["concept"], row["seed"]) for row in rows}
    for seed in seeds:
        for concept in concepts:
            for arm in ARMS:
                if (arm, concept, seed) in done:
                    continue
                began = time.monotonic()
                settings = TrainConfig.from_mapping({**config, "name": WORD, "seed": seed, "save_every": 0})
                training, figures = trained(study, arm, settings, concept)
                row = row_of(study, arm, concept, training.pair.detached(), seed, guidance)
                rows.append({**row, **{name: round(value, 4) for name, value in figures.items()}})
                write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
                print(f"{arm} {concept} {seed}: {time.monotonic() - began:.0f} s", flush=True)
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """The figures of each arm, and their differences from those without a head, matched by thing and seed."""
    lines = ["| head | " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |", "|---" * 8 + "|---|---|"]
    without = {(row["concept"], row["seed"]): row for row in rows if row["arm"] == "none"}
    for arm in ARMS:
        mine = [row for row in rows if row["arm"] == arm and (row["concept"], row["seed"]) in without]
        means = [[row[name] for row in mine if name in row] for name in COLUMNS]
        lines.append(f"| {arm} | " + " | ".join(f"{sum(v) / len(v):.3f}" if v else "" for v in means) + " |")
        if arm != "none" and mine:
            cells = []
            for name in FIGURES:
                changes = [{**r, name: r[name] - without[r["concept"], r["seed"]][name]} for r in mine]
                cells.append(shown(bootstrap(by_concept(changes, name))))
            lines.append("| change | " + " | ".join(cells) + " | | | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare pairs trained against a discriminator with pairs without.")
    parser.add_argument("--concepts", nargs="+", default=["guitar", "hedgehog", "owl", "robot"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--drawing-steps", type=int, default=15)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--references", type=Path, default=Path("build/embedded-model/references"))
    parser.add_argument("--work", type=Path, default=Path("build/discriminator"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    quiet_libraries()
    study = Study(load_host(None), arguments.references, arguments.work, Protocol(steps=arguments.drawing_steps))
    config = training_defaults(None) | {"steps": arguments.steps}
    print(summary(run(study, config, concepts_named(arguments.concepts), arguments.seeds, arguments.guidance)))


if __name__ == "__main__":
    main()
