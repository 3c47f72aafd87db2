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

    name: str = option("concept", "Name", "The word you type in a prompt, and the name of the files.", "concept")
    initialization_text: str = option(
        "*", "Starts from", "Words that training starts from, such as cat. A close word learns faster.", "concept"
    )
    negative_initialization_text: str = option(
        "", "Negative starts from", "Words that the negative starts from. Empty: the same as the positive.", "concept"
    )
    start_from: str = option(
        "",
        "Goes on from",
        "A learned word to go on from. Empty: the words in Starts from.",
        "concept",
    )
    vectors: int = option(
        3,
        "Vectors, positive",
        "More: closer to the picture, less room for the rest of the prompt.",
        "concept",
        "tokens",
        least=1,
        most=MAX_VECTORS,
    )
    negative_vectors: int = option(
        6,
        "Vectors, negative",
        "More: a stronger negative, and a longer negative prompt.",
        "concept",
        "tokens",
        least=1,
        most=MAX_VECTORS,
    )
    use_negative: bool = option(
        True, "Train a negative", "Off: plain textual inversion, without a negative half.", "concept"
    )
    template: str = option(
        "a photo of [name]|a picture of [name]|[name]",
        "Prompts",
        "Training prompts, or a .txt file of them. [name]: the word; [filewords]: the caption.",
        "prompts",
        "separated by |",
    )
    negative_template: str = option(
        "[name]",
        "Negative prompts",
        "Negative training prompts, written the same way; [name] is the negative's word.",
        "prompts",
    )
    caption: str = option(
        "",
        "Caption",
        "Replaces [filewords] for pictures that have no caption of their own.",
        "prompts",
    )
    filewords_positive_only: bool = option(
        False, "Captions in the positive only", "On: negative training prompts have no captions.", "prompts"
    )
    caption_dropout: float = option(
        0.0, "Caption drop-out", "Higher: more samples train without their caption.", "prompts", least=0, most=1
    )
    tag_dropout: float = option(
        0.0, "Tag drop-out", "Higher: more tags of a caption are left out, at random.", "prompts", least=0, most=1
    )
    shuffle_tags: bool = option(
        False, "Shuffle tags", "On: the tags of a caption change their order every time.", "prompts"
    )
    tag_separator: str = option(",", "Tag separator", "The character between the tags of a caption.", "prompts")
    steps: int = option(
        1000,
        "Steps",
        "More: closer to the picture and slower. Too many: every drawing is a copy.",
        "training",
        least=1,
        most=1_000_000,
    )
    batch_size: int = option(
        1,
        "Batch size",
        "Samples per pass. Higher: steadier training, slower steps, more memory.",
        "training",
        least=1,
        most=256,
    )
    accumulation: int = option(
        1,
        "Gradient accumulation",
        "Passes per step. Higher: as steady as a larger batch, without its memory.",
        "training",
        least=1,
        most=1024,
    )
    learning_rate: str = option(
        "0.005",
        "Learning rate",
        'Higher: faster, but it may break. Stages are possible: "0.005:100, 1e-3:1000".',
        "training",
    )
    negative_lr_ratio: float = option(
        1.0,
        "Negative's rate",
        "Multiplies the learning rate for the negative. Lower: it learns more slowly.",
        "training",
        above=0,
        most=1000,
    )
    warmup: int = option(
        0,
        "Warm-up",
        "The learning rate rises from zero over these steps. Higher: a gentler start.",
        "training",
        "steps",
        least=0,
        most=1_000_000,
    )
    cosine: bool = option(False, "Cosine decay", "On: the learning rate falls to zero towards the end.", "training")
    guidance: str = option(
        "3",
        "Guidance while training",
        'CFG scale in training. Higher: more variety, prompts obeyed better. A range works: "1.5-3:cos".',
        "training",
    )
    min_snr: float = option(
        0.0,
        "Min-SNR gamma",
        "Lower: fine detail counts less. 5 is usual, 0 is off (arXiv 2303.09556).",
        "training",
        least=0,
        most=1000,
    )
    noisy_weight: float = option(
        0.0,
        "Weight of the noisy end",
        "Higher: shape and colour count more than fine detail. 0 is off.",
        "training",
        least=0,
        most=1,
    )
    timestep_exponent: float = option(
        1.0,
        "Timestep exponent",
        "Below 1: more training on shape and colour. Above 1: more on fine detail.",
        "training",
        least=0.1,
        most=10,
    )
    timestep_start: float = option(
        0.0,
        "Timesteps from",
        "Higher: skips the least noisy timesteps, where fine detail is learned.",
        "training",
        least=0,
        most=0.99,
    )
    timestep_end: float = option(
        1.0,
        "Timesteps to",
        "Lower: skips the noisiest timesteps, where shape and colour are learned.",
        "training",
        least=0.01,
        most=1,
    )
    reconstruction: float = option(
        0.0,
        "Reconstruction",
        "Above 0: also compares decoded pictures; slower, more memory. 0: off.",
        "training",
        least=0,
        most=1000,
    )
    reconstruction_loss: str = option(
        "L1",
        "Reconstruction by",
        "L1 compares pixels evenly; L2 punishes large differences more.",
        "training",
        choices=("L1", "L2"),
    )
    beta1: float = option(
        0.9,
        "AdamW beta 1",
        "AdamW. Higher: smoother steps that react later. Rarely changed.",
        "optimizer",
        least=0,
        most=0.9999,
    )
    beta2: float = option(
        0.999,
        "AdamW beta 2",
        "AdamW. Higher: steadier step lengths. Rarely changed.",
        "optimizer",
        least=0,
        most=0.999999,
    )
    weight_decay: float = option(
        0.0, "Weight decay", "AdamW. Higher: pulls the vectors towards zero. 0 is off.", "optimizer", least=0, most=1
    )
    clip_gradient: float = option(
        0.0,
        "Clip the gradient",
        "Lower: limits sudden large steps more. 0 is off.",
        "optimizer",
        least=0,
        most=1e6,
    )
    fix_norm: str = option(
        "off",
        "Fix the vectors' length",
        "Keeps vectors as long as ordinary words'. Backgrounds come true more often (arXiv 2512.13672).",
        "optimizer",
        choices=("off", "positive", "both"),
    )
    ema: float = option(
        0.0,
        "Moving average",
        "Averages the vectors over the steps. Higher, such as 0.99: smoother. 0 is off.",
        "optimizer",
        least=0,
        most=0.9999,
    )
    ema_replace_every: int = option(
        0,
        "Replace by the average every",
        "Every so many steps, training continues from the average. 0: never.",
        "optimizer",
        "steps",
        least=0,
        most=1_000_000,
    )
    save_ema: bool = option(
        False, "Keep the average", "On: checks, previews and files use the average. Needs a moving average.", "saving"
    )
    width: int = option(
        0,
        "Width",
        "Higher: more detail, more memory. 0 takes the model's own size.",
        "picture",
        "pixels",
        least=0,
        most=4096,
    )
    height: int = option(
        0,
        "Height",
        "Higher: more detail, more memory. 0 takes the model's own size.",
        "picture",
        "pixels",
        least=0,
        most=4096,
    )
    fit: str = option(
        "crop",
        "Fit",
        "crop: cuts out the middle. bucket: keeps the proportions. pad: adds an ignored edge.",
        "picture",
        choices=("crop", "bucket", "pad"),
    )
    background: str = option(
        "white", "Background", "The colour behind transparent pictures: a name, or #rrggbb.", "picture"
    )
    transparency_as_mask: bool = option(
        False, "Transparency as mask", "On: transparent parts of a picture are not learned.", "picture"
    )
    mirror: bool = option(
        False, "Mirror", "On: also learns the mirror image. Leave it off for text and for faces.", "picture"
    )
    random_crop: float = option(
        0.0,
        "Random crop",
        "Share of each side cut off at random. Higher: learns less of the framing.",
        "picture",
        least=0,
        most=0.5,
    )
    views: int = option(
        4,
        "Views",
        "Mirrored or cropped versions of each picture. More: more variety, longer start.",
        "picture",
        least=1,
        most=64,
    )
    latent_sampling: str = option(
        "mean",
        "Latent sampling",
        "mean: the VAE's average. once: one random sample. each: a new one per step.",
        "picture",
        choices=("mean", "once", "each"),
    )
    less_memory: str = option(
        "auto",
        "Less memory",
        "on: much less memory, steps take longer. auto: only where it would not fit.",
        "training",
        choices=("auto", "on", "off"),
    )
    use_mask: bool = option(True, "Use the mask", "On: NAME_att.png beside NAME.png says which parts count.", "picture")
    inpaint: str = option(
        "all",
        "Inpainting models paint",
        "Inpainting models only. all: learns the whole picture. painted: the white of the mask.",
        "picture",
        choices=("all", "painted"),
    )
    spread_mask: float = option(
        0.0,
        "Spread the mask",
        "Higher: painted spots spread further, over what looks alike. 0 is off.",
        "picture",
        least=0,
        most=1,
    )
    seed: int = option(
        0,
        "Seed",
        "Another seed, another result. The same seed repeats a training.",
        "training",
        least=0,
        most=2**63 - 1,
    )
    name_pictures: bool = option(
        False,
        "Name the pictures",
        "On: the files name your pictures and captions. Off: they do not.",
        "saving",
    )
    save_every: int = option(
        100,
        "Save every",
        "Steps between snapshots. Lower: more to choose from, more files.",
        "saving",
        "steps",
        least=0,
        most=1_000_000,
    )

    check_every: int = option(
        0,
        "Check every",
        "Steps between checks. Lower: finds the best step more exactly, trains slower. 0: automatic.",
        "saving",
        "steps",
        least=0,
        most=1_000_000,
    )
    patience: int = option(
        0,
        "Patience",
        "Stops after this many checks without improvement. 0: never stops early.",
        "saving",
        "checks",
        least=0,
        most=1_000_000,
    )
    keep: str = option(
        "last",
        "Keep at the end",
        "best: the pair of the best check. last: the pair of the last step.",
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
