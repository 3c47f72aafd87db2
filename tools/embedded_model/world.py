"""How well prompts rule over the scene: pattern, place, size, position, count, tint, two things in one picture.

The same scenes are asked of the model with words that it knows and with learned words. Every figure stands beside the
one of real scenes, painted and passed through the VAE, which is what the measure gives a perfect model.

How each is told:
- pattern, place, flat colour: the four corners' early features are nearest to the mean of that kind's real scenes;
- size: the thing's box, as a share of the box that its drawing fills, is nearest to what the word means;
- position: the middle of what is not background is nearest to the named one of five places;
- count: parts that hang together, those of at least a quarter of the largest;
- tint: the mean hue of what is not background is nearest to the named one of seven;
- thing: the nearest of twenty things, by deep features, is it;
- two things: the nearest of twenty things, by deep features, is the first one on the left and the second on the right.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d, normalize

from dreamartist_ext.evaluation import features
from dreamartist_ext.hosts.diffusers.host import to_image

from . import drawings, scenes, share
from .codes import CODE
from .inversion import save_sheet
from .latents import Encode, encoder
from .measure import Model, decode, load_model
from .scenes import Background, Placed, Scene
from .shapes import PICTURE_SIZE, TOKENS

KINDS = ("flat", *scenes.PATTERNS, *scenes.PLACES)
PER_KIND = 16  # real scenes that a kind of background is known by
CORNER = 40  # pixels
CLEAR = 0.3  # of the way from black to white: what differs so much from the background is the thing
PART = 0.25  # of the largest part
DRAWING_SIZE = 0.68  # of the picture's side, where no size is named
CALM = ("white", "grey", "yellow", "blue")  # backgrounds on which a thing is told from its background
STRENGTH = 0.7  # of img2img
BUDGET = share.Budget(guidance=4.0)


@dataclass(frozen=True)
class Asked:
    """What a prompt asks for; `text` has CODE where a thing's word comes, `things` are the things' numbers."""

    kind: str
    wanted: str
    text: str
    scene: Scene
    things: tuple[int, ...]


def requests(things: int, colourful: Sequence[bool], each: int, seed: int) -> list[Asked]:
    """`each` pictures of every thing, background, size, position, count and tint, and of two things ten times as many;
    things in turn."""
    dice = random.Random(seed)
    turn = iter(int(i) for _ in range(1000) for i in dice.sample(range(things), things))
    asked: list[Asked] = []

    def ask(kind: str, wanted: str, scene: Scene) -> None:
        asked.append(Asked(kind, wanted, prompt(scene), scene, tuple(thing.drawing for thing in _told(scene))))

    def calm() -> Background:
        return Background("flat", (dice.choice(CALM),))

    for _ in range(each):
        for kind in KINDS:
            name = "place" if kind in scenes.PLACES else "pattern"
            ask(name, kind, Scene(scenes.background_of(kind, dice), (Placed(next(turn), 0, 0, DRAWING_SIZE),)))
        for size in ("small", "big"):
            ask("size", size, Scene(calm(), (Placed(next(turn), 0, 0, sum(scenes.SIZES[size]) / 2),), size=size))
        for position, (x, y) in scenes.POSITIONS.items():
            if position:
                ask("position", position, Scene(calm(), (Placed(next(turn), x, y, 0.46),), position=position))
        for count in scenes.COUNTS:
            thing = next(turn)
            placed = tuple(Placed(thing, x, y, 0.45) for x, y in scenes.SPOTS[count])
            ask("count", str(count), Scene(calm(), placed, count=count))
        for tint in scenes.TINTS:
            thing = next(i for i in turn if colourful[i]) if any(colourful) else next(turn)
            ask("tint", tint, Scene(calm(), (Placed(thing, 0, 0, DRAWING_SIZE),), tint=tint))
        for thing in range(things):
            ask("thing", str(thing), Scene(calm(), (Placed(thing, 0, 0, DRAWING_SIZE),)))
    for _ in range(10 * each):
        first, second = dice.sample(range(things), 2)
        both = (Placed(first, -0.5, 0, 0.45), Placed(second, 0.5, 0, 0.45))
        ask("two", "beside", Scene(calm(), both, relation="beside"))
    return asked


def prompt(scene: Scene) -> str:
    return f"{scenes.said(scene, [CODE, CODE])} {scene.background.words()}"


def _told(scene: Scene) -> tuple[Placed, ...]:
    return scene.things if scene.relation else scene.things[:1]


class Judge:
    """Tells from a picture whether it shows what was asked for."""

    def __init__(self, model: Model, encode: Encode, things: Tensor, likenesses: Tensor, owners: Sequence[int]) -> None:
        """things (N, S, S, 4): the drawings asked for; likenesses (M, 3, H, W): pictures of them, and whose each is"""
        self.network = features.FeatureNet()
        self.likenesses = normalize(self.network(likenesses).deep, dim=1)
        self.owners = torch.tensor(owners)
        self.boxes = [box(drawing[..., 3] > 127) for drawing in things]
        dice, known = random.Random(11), []
        for kind in KINDS:
            made = [self._some(kind, things, dice) for _ in range(PER_KIND)]
            latents = encode(torch.stack(made))
            known.append(self._corners(decode(model.vae, latents.to(model.device)).cpu()))
        everything = torch.cat(known)
        self.mean, self.scale = everything.mean(0), everything.std(0).clamp(min=1e-6)
        self.kinds = torch.stack([((part - self.mean) / self.scale).mean(0) for part in known])

    @staticmethod
    def _some(kind: str, things: Tensor, dice: random.Random) -> Tensor:
        colours = tuple(dice.sample(drawings.BACKGROUND_NAMES, 2 if kind in scenes.PATTERNS else 1))
        thing = Placed(dice.randrange(len(things)), dice.uniform(-0.1, 0.1), dice.uniform(-0.1, 0.1), DRAWING_SIZE)
        return scenes.painted(Scene(Background(kind, colours), (thing,)), things, dice)

    def _corners(self, pictures: Tensor) -> Tensor:
        """(N, D): early features of the corners alone, put together to a small picture"""
        top, bottom = pictures[:, :, :CORNER], pictures[:, :, -CORNER:]
        both = torch.cat([top, bottom], 2)
        return self.network(torch.cat([both[..., :CORNER], both[..., -CORNER:]], 3)).statistics()

    def background(self, picture: Tensor) -> str:
        features = (self._corners(picture[None])[0] - self.mean) / self.scale
        return KINDS[int((normalize(self.kinds, dim=1) @ normalize(features, dim=0)).argmax())]

    def nearest(self, picture: Tensor) -> int:
        """The thing that a picture (3, H, W) shows."""
        return int(self.owners[int((self.likenesses @ self.network(picture[None]).deep[0]).argmax())])

    def right(self, asked: Asked, picture: Tensor) -> bool:
        if asked.kind in ("pattern", "place"):
            return self.background(picture) == asked.wanted
        if asked.kind == "thing":
            return self.nearest(picture) == asked.things[0]
        if asked.kind == "two":
            half = PICTURE_SIZE // 2
            sides = [picture[:, half // 2 : -half // 2, x : x + half] for x in (0, half)]
            large = [interpolate(side[None], size=PICTURE_SIZE, mode="bicubic")[0].clamp(-1, 1) for side in sides]
            return tuple(map(self.nearest, large)) == asked.things
        clear = clear_of_background(picture)
        if not clear.any():
            return False
        if asked.kind == "size":
            size = box(clear) / self.boxes[asked.things[0]]
            return min(scenes.SIZES, key=lambda name: abs(sum(scenes.SIZES[name]) / 2 - size)) == asked.wanted
        if asked.kind == "position":
            x, y = middle(clear)
            places = scenes.POSITIONS
            return min(places, key=lambda name: (places[name][0] - x) ** 2 + (places[name][1] - y) ** 2) == asked.wanted
        if asked.kind == "count":
            return str(parts(clear)) == asked.wanted
        hue = mean_hue(picture, clear)
        return min(scenes.TINTS, key=lambda name: abs((scenes.TINTS[name] - hue + 0.5) % 1 - 0.5)) == asked.wanted


def clear_of_background(picture: Tensor) -> Tensor:
    """(3, H, W) in [-1, 1] on an even background -> (H, W): what differs from the corners' colour"""
    edge = 6
    corners = torch.stack([picture[:, y, x].mean((1, 2)) for y in _ends(edge) for x in _ends(edge)])
    away = (picture - corners.median(0).values[:, None, None]).abs().amax(0) / 2
    return away > CLEAR


def _ends(width: int) -> tuple[slice, slice]:
    return slice(0, width), slice(-width, None)


def box(mask: Tensor) -> float:
    """The longer side of the box around (H, W), as a share of the picture's; one in fifty is left out at each end."""
    spans = []
    for place in mask.nonzero(as_tuple=True):
        low, high = place.float().quantile(torch.tensor([0.02, 0.98])).tolist()
        spans.append(high - low + 1)
    return max(spans) / len(mask)


def middle(mask: Tensor) -> tuple[float, float]:
    """x and y of the middle, -1 to 1"""
    rows, columns = mask.nonzero(as_tuple=True)
    last = (len(mask) - 1) / 2
    return float(columns.float().mean()) / last - 1, float(rows.float().mean()) / last - 1


def parts(mask: Tensor) -> int:
    """Parts of (H, W) that hang together, those of at least PART of the largest; gaps of a pixel are closed."""
    left = max_pool2d(mask[None, None].float(), 3, 1, 1)
    sizes: list[float] = []
    while left.any():
        part = torch.zeros_like(left)
        part.view(-1)[left.view(-1).argmax()] = 1
        while True:
            grown = max_pool2d(part, 9, 1, 4) * left if part.sum() > 200 else max_pool2d(part, 3, 1, 1) * left
            if torch.equal(grown, part):
                break
            part = grown
        sizes.append(float(part.sum()))
        left = left - part
    return sum(size >= PART * max(sizes) for size in sizes)


def mean_hue(picture: Tensor, mask: Tensor) -> float:
    """0 to 1, weighted by how colourful a pixel is"""
    rgb = (picture[:, mask].double() + 1) / 2
    red, green, blue = rgb
    angle = torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue)
    weight = (rgb.amax(0) - rgb.amin(0)).clamp(min=0)
    x, y = float((weight * angle.cos()).sum()), float((weight * angle.sin()).sum())
    return float(np.arctan2(y, x) / (2 * np.pi)) % 1


def encoded(model: Model, text: str, words: Sequence[Tensor]) -> Tensor:
    """A prompt with learned vectors (V, width) at its CODEs, one after the other -> (77, width)"""
    tokenizer = model.tokenizer
    first, *rest = text.split(CODE)
    ids = [tokenizer.bos_token_id, *tokenizer(first, add_special_tokens=False).input_ids]
    places = []
    for vectors, part in zip(words, rest, strict=False):
        places.append((len(ids), vectors))
        ids += [0] * len(vectors) + tokenizer(part, add_special_tokens=False).input_ids
    ids += [tokenizer.eos_token_id] * (TOKENS - len(ids))

    def hook(_module: torch.nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        output = output.clone()
        for place, vectors in places:
            output[:, place : place + len(vectors)] = vectors.to(output)
        return output

    handle = model.text.get_input_embeddings().register_forward_hook(hook)
    try:
        return model.text(torch.tensor([ids], device=model.device)).last_hidden_state[0]
    finally:
        handle.remove()


@torch.no_grad()
def draw(model: Model, asked: Sequence[Asked], cond: Callable[[Asked], Tensor], uncond: Tensor, budget: share.Budget):  # noqa: ANN201
    """(N, 3, 128, 128) in [-1, 1]; uncond (N or 1, 77, width)"""
    conds = torch.stack([cond(each) for each in asked])
    unconds = uncond.expand_as(conds)
    pieces = range(0, len(asked), 16)
    return torch.cat([share.draw(model, conds[i : i + 16], unconds[i : i + 16], i, budget) for i in pieces])


def real(model: Model, asked: Sequence[Asked], things: Tensor, encode: Encode) -> Tensor:
    """The scenes themselves, through the VAE."""
    dice = random.Random(3)
    painted = torch.stack([scenes.painted(each.scene, things, dice) for each in asked])
    return torch.cat([decode(model.vae, encode(part).to(model.device)).cpu() for part in painted.split(16)])


def figures(judge: Judge, asked: Sequence[Asked], pictures: Tensor) -> dict[str, float]:
    """The share of right pictures, by what was asked for."""
    found = defaultdict(list)
    for each, picture in zip(asked, pictures, strict=True):
        found[each.kind].append(judge.right(each, picture))
    return {kind: round(sum(outcomes) / len(outcomes), 4) for kind, outcomes in found.items()}


KNOWN = (
    "apple cat dog-face banana car bus tulip fish house pizza lion umbrella trumpet whale carrot bird key cherries "
    "sailboat hamburger elephant airplane bell candle pear shark duck"
).split()


def measure_known(folder: Path, work: Path, out: Path, each: int = 4, seed: int = 3, device: str = "cpu") -> dict:
    """Twenty known things by their names; writes known.json and known.png."""
    model, encode = load_model(folder, device), encoder(folder, device)
    everything = drawings.load(work)
    concepts = [name for name in KNOWN if any(label[0] == name for label in everything.labels)][:20]
    own = [[i for i, (name, _) in enumerate(everything.labels) if name == concept] for concept in concepts]
    things = everything.rgba[[numbers[0] for numbers in own]]
    likenesses = everything.rgba[[i for numbers in own for i in numbers]]
    white = [scenes.painted(Scene(Background("flat", ("white",)), (Placed(0, 0, 0, 0.9),)), d[None], random.Random(0))
             for d in likenesses]  # fmt: skip
    judge = Judge(model, encode, things, torch.stack(white), [k for k, numbers in enumerate(own) for _ in numbers])
    asked = requests(len(things), [scenes.is_colourful(drawing) for drawing in things], each, seed)

    def cond(one: Asked) -> Tensor:
        names = [concepts[i].replace("-", " ") for i in one.things]
        text = one.text
        for name in names:
            text = text.replace(CODE, name, 1)
        return encoded(model, text, [])

    pictures = draw(model, asked, cond, encoded(model, "", [])[None], BUDGET)
    result = {
        "named": figures(judge, asked, pictures),
        "real": figures(judge, asked, real(model, asked, things, encode)),
        "of each": each,
    }
    _write(out, "known", result, [to_image(p) for p in pictures])
    return result


def measure_learned(
    folder: Path, work: Path, words: Path, out: Path, each: int = 2, seed: int = 3, device: str = "cpu"
) -> dict:
    """Words that `share` learned (its words.pt), by way: the same requests, two learned words side by side, and img2img
    that replaces a known thing in a scene."""
    model, encode = load_model(folder, device), encoder(folder, device)
    references = share.References(model, work / "references")
    learned = torch.load(words, weights_only=True)
    everything = drawings.load(work / "wide")
    result: dict[str, dict] = {}
    for way in ("plain", "pair"):
        names = sorted({name for name, its_way, _ in learned if its_way == way})
        seeds = min(s for _, its_way, s in learned if its_way == way)
        vectors = [learned[name, way, seeds] for name in names]
        pixels = torch.stack([references.pixels[references.names.index(name)] for name in names])
        things = torch.stack([as_drawing(picture) for picture in pixels])
        judge = Judge(model, encode, things, references.pixels, [names.index(n) if n in names else -1
                                                                for n in references.names])  # fmt: skip
        asked = requests(len(names), [scenes.is_colourful(thing) for thing in things], each, seed)

        def cond(one: Asked, vectors: list = vectors) -> Tensor:
            return encoded(model, one.text, [vectors[i][0] for i in one.things])

        nothing = encoded(model, "", [])
        negatives = [nothing if v[1] is None else encoded(model, CODE, [v[1]]) for v in vectors]
        unconds = torch.stack([negatives[one.things[0]] for one in asked])
        pictures = draw(model, asked, cond, unconds, BUDGET)
        result[way] = figures(judge, asked, pictures) | _edited(model, encode, judge, everything, vectors, negatives)
        if way == "plain":
            result["real"] = figures(judge, asked, real(model, asked, things, encode))
        _write(out, f"learned-{way}", result, [to_image(p) for p in pictures])
    return result


def as_drawing(picture: Tensor) -> Tensor:
    """A reference on white (3, H, W) in [-1, 1] -> (H, W, 4) uint8 with its background cut away"""
    opaque = ((1 - picture).amax(0) > 0.05).float()
    pixels = ((picture.permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8)
    return torch.cat([pixels, (opaque * 255).to(torch.uint8)[..., None]], -1)


@torch.no_grad()
def _edited(
    model: Model, encode: Encode, judge: Judge, everything: drawings.Drawings, vectors: Sequence, negatives: Sequence
) -> dict[str, float]:
    """A known thing in a scene becomes the learned one: the nearest thing is it, the background stays what it was."""
    dice = random.Random(17)
    seen, kept = [], []
    for i, (positive, _) in enumerate(vectors):
        for kind in dice.sample([k for k in KINDS if k != "flat"], 2):
            background = scenes.background_of(kind, dice)
            scene = Scene(background, (Placed(dice.randrange(len(everything.labels)), 0, 0, DRAWING_SIZE),))
            latents = encode(scenes.painted(scene, everything.rgba, dice)[None]).to(model.device)
            cond = encoded(model, prompt(scene), [positive])
            picture = share.redraw(model, latents, cond, negatives[i], STRENGTH, i, BUDGET)
            seen.append(judge.nearest(picture) == i)
            kept.append(judge.background(picture) == kind)
    return {"img2img first": sum(seen) / len(seen), "img2img background": sum(kept) / len(kept)}


def _write(out: Path, name: str, result: dict, pictures: Sequence) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(result, indent=1))
    save_sheet([pictures[i : i + 16] for i in range(0, len(pictures), 16)], out / f"{name}.png")
