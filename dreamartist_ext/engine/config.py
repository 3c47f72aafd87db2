"""TrainConfig: the settings of one training, described once for the command line, the tab, the API and the docs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .colours import parse_colour
from .errors import SettingError
from .guidance import Guidance
from .learning_rate import RateSchedule
from .names import MAX_VECTORS, check_name
from .options import check, converted, option
from .prompts import check_templates
from .timesteps import TimestepRange


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of one training. Constructing one with a bad value raises SettingError."""

    name: str = option("concept", "Name", "The word to type in a prompt, and the name of the files.", "concept")
    initialization_text: str = option(
        "*", "Starts from", "Words whose token vectors both embeddings start from.", "concept"
    )
    negative_initialization_text: str = option(
        "", "Negative starts from", "Words that the negative starts from instead; empty: the same.", "concept"
    )
    start_from: str = option(
        "",
        "Goes on from",
        "A learned word whose vectors the training begins from; empty: those of Starts from.",
        "concept",
    )
    vectors: int = option(
        3,
        "Vectors, positive",
        "More vectors: more likeness, less control.",
        "concept",
        "tokens",
        least=1,
        most=MAX_VECTORS,
    )
    negative_vectors: int = option(
        6, "Vectors, negative", "Size of the negative embedding.", "concept", "tokens", least=1, most=MAX_VECTORS
    )
    use_negative: bool = option(True, "Train a negative", "Off: plain textual inversion.", "concept")
    template: str = option(
        "a photo of [name]|a picture of [name]|[name]",
        "Prompts",
        "Prompts to train with, one drawn per sample, or a .txt file with one a line; [name] is the word, [filewords] "
        "the picture's caption.",
        "prompts",
        "separated by |",
    )
    negative_template: str = option(
        "[name]", "Negative prompts", "The same for the negative; [name] is the negative's word.", "prompts"
    )
    caption: str = option(
        "",
        "Caption",
        "What [filewords] says of pictures that have no .txt file beside them; empty: what their file name says.",
        "prompts",
    )
    filewords_positive_only: bool = option(
        False, "Captions in the positive only", "Leave [filewords] out of the negative prompts.", "prompts"
    )
    caption_dropout: float = option(
        0.0, "Caption drop-out", "Share of samples without their [filewords].", "prompts", least=0, most=1
    )
    tag_dropout: float = option(
        0.0, "Tag drop-out", "Share of the tags in [filewords] that are left out.", "prompts", least=0, most=1
    )
    shuffle_tags: bool = option(False, "Shuffle tags", "The tags of [filewords] in another order each time.", "prompts")
    tag_separator: str = option(",", "Tag separator", "What stands between the tags of a caption.", "prompts")
    steps: int = option(1000, "Steps", "Optimizer steps.", "training", least=1, most=1_000_000)
    batch_size: int = option(1, "Batch size", "Noisy copies per forward pass.", "training", least=1, most=256)
    accumulation: int = option(
        1,
        "Gradient accumulation",
        "Passes per step; N passes equal one batch N times as large.",
        "training",
        least=1,
        most=1024,
    )
    learning_rate: str = option(
        "0.005", "Learning rate", 'A number, or stages such as "0.005:100, 1e-3:1000".', "training"
    )
    negative_lr_ratio: float = option(
        1.0,
        "Negative's rate",
        "The negative's learning rate as a share of the positive's.",
        "training",
        above=0,
        most=1000,
    )
    warmup: int = option(
        0, "Warm-up", "Steps over which the rate rises from zero.", "training", "steps", least=0, most=1_000_000
    )
    cosine: bool = option(False, "Cosine decay", "Let the rate fall to zero along a cosine.", "training")
    guidance: str = option(
        "3", "Guidance while training", 'A number, or a range over the noise such as "1.5-3:cos".', "training"
    )
    min_snr: float = option(
        0.0,
        "Min-SNR gamma",
        "Weigh the loss down at little noise (arXiv 2303.09556); 0 is off, 5 is usual.",
        "training",
        least=0,
        most=1000,
    )
    noisy_weight: float = option(
        0.0,
        "Weight of the noisy end",
        "Multiplies the loss by min(SNR, 5)^-this: shape and colours count more; 0 is off, 0.5 a half way.",
        "training",
        least=0,
        most=1,
    )
    timestep_exponent: float = option(
        1.0,
        "Timestep exponent",
        "Timesteps are drawn as T u^this: below 1 more of them at the noisy end.",
        "training",
        least=0.1,
        most=10,
    )
    timestep_start: float = option(
        0.0,
        "Timesteps from",
        "Only timesteps from this share of all on are trained: 0 is no noise, where details are decided.",
        "training",
        least=0,
        most=0.99,
    )
    timestep_end: float = option(
        1.0,
        "Timesteps to",
        "Only timesteps before this share of all are trained: 1 is noise alone, where shape and colours are decided.",
        "training",
        least=0.01,
        most=1,
    )
    reconstruction: float = option(
        0.0,
        "Reconstruction",
        "Weight of the decoded picture's distance from the true one; 0 is off, and decoding costs time and memory.",
        "training",
        least=0,
        most=1000,
    )
    reconstruction_loss: str = option(
        "L1",
        "Reconstruction by",
        "L1: mean difference of the pixels; L2: mean square.",
        "training",
        choices=("L1", "L2"),
    )
    beta1: float = option(0.9, "AdamW beta 1", "Decay of the gradient's mean.", "optimizer", least=0, most=0.9999)
    beta2: float = option(0.999, "AdamW beta 2", "Decay of its square's mean.", "optimizer", least=0, most=0.999999)
    weight_decay: float = option(0.0, "Weight decay", "AdamW's decoupled weight decay.", "optimizer", least=0, most=1)
    clip_gradient: float = option(
        0.0,
        "Clip the gradient",
        "Shorten each side's gradient to this length where it is longer; 0 is off.",
        "optimizer",
        least=0,
        most=1e6,
    )
    fix_norm: str = option(
        "off",
        "Fix the vectors' length",
        "Hold these vectors at the vocabulary's mean length and learn only where they point (arXiv 2512.13672).",
        "optimizer",
        choices=("off", "positive", "both"),
    )
    ema: float = option(
        0.0,
        "Moving average",
        "Decay of an average of the vectors over the steps, such as 0.99; 0 is off.",
        "optimizer",
        least=0,
        most=0.9999,
    )
    ema_replace_every: int = option(
        0,
        "Replace by the average every",
        "The vectors go on from their average after so many steps; 0 is never.",
        "optimizer",
        "steps",
        least=0,
        most=1_000_000,
    )
    save_ema: bool = option(
        False, "Keep the average", "Judge, show and write the average instead of the vectors of the step.", "saving"
    )
    width: int = option(0, "Width", "0 takes the model's own size.", "picture", "pixels", least=0, most=4096)
    height: int = option(0, "Height", "0 takes the model's own size.", "picture", "pixels", least=0, most=4096)
    fit: str = option(
        "crop",
        "Fit",
        "crop: the middle at width x height; bucket: nearly all of each picture, at sizes of its own proportions; "
        "pad: all of it, with an edge that is ignored.",
        "picture",
        choices=("crop", "bucket", "pad"),
    )
    background: str = option(
        "white", "Background", "What transparent pictures are laid on: a colour's name, or #rrggbb.", "picture"
    )
    transparency_as_mask: bool = option(
        False, "Transparency as mask", "Ignore what is transparent in a picture.", "picture"
    )
    mirror: bool = option(
        False, "Mirror", "Learn from every picture's mirror image too, in half of its views.", "picture"
    )
    random_crop: float = option(
        0.0,
        "Random crop",
        "Up to this share of each side is cut off, elsewhere in each view but the first.",
        "picture",
        least=0,
        most=0.5,
    )
    views: int = option(
        4,
        "Views",
        "Of each picture, where mirror or random_crop makes them differ; each of them is encoded once.",
        "picture",
        least=1,
        most=64,
    )
    latent_sampling: str = option(
        "mean",
        "Latent sampling",
        "mean: what the VAE finds most likely; once: one sample of it per picture; each: a new one every time.",
        "picture",
        choices=("mean", "once", "each"),
    )
    less_memory: str = option(
        "auto",
        "Less memory",
        "Compute the U-Net's blocks twice instead of keeping them; auto: where they would not fit.",
        "training",
        choices=("auto", "on", "off"),
    )
    use_mask: bool = option(True, "Use the mask", "Weigh by NAME_att.png, where one lies beside NAME.png.", "picture")
    inpaint: str = option(
        "all",
        "Inpainting models paint",
        "all: the whole picture; painted: what the mask has lighter than half, with the rest of the picture shown.",
        "picture",
        choices=("all", "painted"),
    )
    spread_mask: float = option(
        0.0,
        "Spread the mask",
        "How far painted spots spread to what belongs to them, by the VAE's self-attention; 0 is off, 1 is all.",
        "picture",
        least=0,
        most=1,
    )
    seed: int = option(0, "Seed", "The same seed gives the same files.", "training", least=0, most=2**63 - 1)
    name_pictures: bool = option(
        False,
        "Name the pictures",
        "Write the pictures' file names and captions into the files; off, nothing in them says what they were.",
        "saving",
    )
    save_every: int = option(
        100, "Save every", "Steps between snapshots; 0 saves at the end.", "saving", "steps", least=0, most=1_000_000
    )

    check_every: int = option(
        0,
        "Check every",
        "Steps between checks on fixed noises; 0: at snapshots, as often as costs under 5 %.",
        "saving",
        "steps",
        least=0,
        most=1_000_000,
    )
    patience: int = option(
        0,
        "Patience",
        "Stop after so many checks in a row without a better one; 0 is never.",
        "saving",
        "checks",
        least=0,
        most=1_000_000,
    )
    keep: str = option(
        "best",
        "Keep at the end",
        "best: the pair that foresees noise best; last: that of the last step.",
        "saving",
        choices=("last", "best"),
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            check(item, getattr(self, item.name))
        check_name(self.name)
        for field_name in ("template", "negative_template"):
            check_templates(_split(getattr(self, field_name)), field_name)
        if (self.save_ema or self.ema_replace_every) and not self.ema:
            raise SettingError("ema must be more than 0 for save_ema or ema_replace_every to have an effect, got 0.")
        if self.patience and not (self.check_every or self.save_every):
            raise SettingError("check_every must be more than 0 for patience to have an effect, got 0.")
        if self.timestep_end <= self.timestep_start:
            got = f"{self.timestep_end:g} and {self.timestep_start:g}"
            raise SettingError(f"timestep_end must be more than timestep_start, got {got}.")
        if (self.mirror or self.random_crop) and self.views == 1:
            raise SettingError("views must be more than 1 for mirror or random_crop to have an effect, got 1.")
        Guidance.parse(self.guidance)
        parse_colour(self.background)
        if not self.tag_separator:
            raise SettingError("tag_separator must not be empty.")
        _check_word(self.name, (*self.templates, *self.negative_templates))
        RateSchedule.parse(self.learning_rate)
        if self.warmup > self.steps:
            raise SettingError(
                f"warmup must be at most steps, {self.steps}, or the rate never rises to its value, got {self.warmup}."
            )
        for side in ("width", "height"):
            if getattr(self, side) % 64:
                raise SettingError(f"{side} must be a multiple of 64, got {getattr(self, side)}.")

    @property
    def templates(self) -> tuple[str, ...]:
        return _split(self.template)

    @property
    def timestep_range(self) -> TimestepRange:
        return TimestepRange(self.timestep_start, self.timestep_end)

    @property
    def has_filewords(self) -> bool:
        """Whether any template has a place for captions."""
        return any("[filewords]" in template for template in (*self.templates, *self.negative_templates))

    @property
    def views_of_each(self) -> int:
        """How many views of each picture differ."""
        return self.views if self.mirror or self.random_crop else 1

    @property
    def weighs(self) -> bool:
        """Whether some part of a picture may count more than another."""
        return self.use_mask or self.transparency_as_mask or self.fit == "pad"

    @property
    def negative_templates(self) -> tuple[str, ...]:
        return _split(self.negative_template)

    def to_mapping(self) -> dict[str, Any]:
        """Values by field name, as `from_mapping` takes them."""
        return asdict(self)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def published(self) -> str:
        """As JSON for a file that others may see: with the pictures' caption only where the user wants it there."""
        return (self if self.name_pictures else replace(self, caption="")).to_json()

    @classmethod
    def from_json(cls, text: str) -> TrainConfig:
        """What `to_json` wrote; raises SettingError for anything else."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SettingError("the settings of this training are damaged.") from error
        if not isinstance(values, dict):
            raise SettingError("the settings of this training are damaged.")
        if values.get("views") == 1:  # what an earlier release took without a word, and without an effect
            values |= {"mirror": False, "random_crop": 0.0}
        return cls.from_mapping(values)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Values by field name, numbers also as text; raises SettingError for an unknown name or a bad value."""
        known = {item.name: item for item in fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise SettingError(f'there is no setting "{unknown[0]}".')
        return cls(**{name: converted(known[name], value) for name, value in values.items()})


def _split(text: str) -> tuple[str, ...]:
    return tuple(prompt.strip() for prompt in text.split("|") if prompt.strip())


def _check_word(name: str, templates: tuple[str, ...]) -> None:
    """A word that the templates use anyway would stand for the embedding there too."""
    for template in templates:
        if name.lower() in re.findall(r"[a-z0-9_-]+", template.replace("[name]", "").lower()):
            raise SettingError(f'name must not be a word of the template "{template}", got "{name}".')
