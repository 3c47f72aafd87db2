"""How well prompts rule over the scene: pattern, place, size, position, count, tint, two things in one picture.

The same scenes are asked of the model with words that it knows and with learned words. Every figure stands beside the
one of real scenes, painted and passed through the VAE, which is what the measure gives a perfect model.

How each is told:
- pattern, place, flat colour: of real scenes of all kinds, the one with the nearest corners, by early features of them
  in colour and in grey, is of that kind;
- size: the thing's box, as a share of the box that its drawing fills, is nearest to what the word means;
- position: the middle of what is not background is nearest to the named one of five places;
- count: parts that hang together by more than a thread, those of at least a quarter of the largest;
- tint: the mean hue of what is not background is nearest to the named one of seven;
- thing: the nearest of twenty things, by deep features, is it; each is known in all its drawings, on all CALM
  backgrounds, through the VAE;
- two things: so on either half of the picture, with things known as small as they are there.

Of real scenes (15 patterns, 6 counts, 60 things, 30 of two things) it tells 93 %, 83 %, 100 % and 100 %, and all
places, sizes, positions and tints; an earlier measure told 53 %, 50 %, 72 % and 27 %.
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
from .captions import CODE
from .inversion import save_sheet
from .latents import Encode, encoder
from .measure import Model, decode, load_model
from .scenes import Background, Placed, Scene
from .shapes import PICTURE_SIZE, TOKENS

KINDS = ("flat", *scenes.PATTERNS, *scenes.PLACES)
PER_KIND = 24  # real scenes that a kind of background is known by
CORNER = 40  # pixels
CLEAR = 0.3  # of the way from black to white: what differs so much from the background is the thing
PART = 0.25  # of the largest part
NECK = 5  # pixels: what hangs together by less is apart
DRAWING_SIZE = 0.68  # of the picture's side, where no size is named
SMALL = 0.45  # of each of two things
HALF = PICTURE_SIZE // 2
CALM = ("white", "grey", "yellow", "blue")  # backgrounds on which a thing is told from its background
STRENGTHS = (0.5, 0.7, 0.85)  # of img2img
BUDGET = share.Budget(guidance=4.0)
OF_LEARNED = share.Budget(guidance=2.5)  # the best of two both for plain inversion and for a pair trained at 1.3


@dataclass(frozen=True)
class Asked:
    """What a prompt asks for; `text` has CODE where a thing's word comes, `things` are the things' numbers."""

    kind: str
    wanted: str
    text: str
    scene: Scene
    things: tuple[int, ...]


def requests(
    things: int, colourful: Sequence[bool], each: int, seed: int, clear: Sequence[Sequence[str]] = ()
) -> list[Asked]:
    """`each` pictures of every thing, background, size, position, count and tint, and of two things ten times as many;
    things in turn. `clear`: for each thing, the backgrounds that it is told from; CALM where it is left out."""
    dice = random.Random(seed)
    turn = iter(int(i) for _ in range(1000) for i in dice.sample(range(things), things))
    asked: list[Asked] = []

    def ask(kind: str, wanted: str, scene: Scene) -> None:
        asked.append(Asked(kind, wanted, prompt(scene), scene, tuple(thing.drawing for thing in _told(scene))))

    def calm(thing: int) -> Background:
        return Background("flat", (dice.choice(clear[thing] if clear else CALM),))

    for _ in range(each):
        for kind in KINDS:
            name = "place" if kind in scenes.PLACES else "pattern"
            ask(name, kind, Scene(scenes.background_of(kind, dice), (Placed(next(turn), 0, 0, DRAWING_SIZE),)))
        for size in ("small", "big"):
            thing = next(turn)
            ask("size", size, Scene(calm(thing), (Placed(thing, 0, 0, sum(scenes.SIZES[size]) / 2),), size=size))
        for position, (x, y) in scenes.POSITIONS.items():
            if position:
                thing = next(turn)
                ask("position", position, Scene(calm(thing), (Placed(thing, x, y, 0.46),), position=position))
        for count in scenes.COUNTS:
            thing = next(turn)
            placed = tuple(Placed(thing, x, y, SMALL) for x, y in scenes.SPOTS[count])
            ask("count", str(count), Scene(calm(thing), placed, count=count))
        for tint in scenes.TINTS:
            thing = next(i for i in turn if colourful[i]) if any(colourful) else next(turn)
            ask("tint", tint, Scene(calm(thing), (Placed(thing, 0, 0, DRAWING_SIZE),), tint=tint))
        for thing in range(things):
            ask("thing", str(thing), Scene(calm(thing), (Placed(thing, 0, 0, DRAWING_SIZE),)))
    for _ in range(10 * each):
        first, second = dice.sample(range(things), 2)
        both = (Placed(first, -0.5, 0, SMALL), Placed(second, 0.5, 0, SMALL))
        ask("two", "beside", Scene(calm(first), both, relation="beside"))
    return asked


def prompt(scene: Scene) -> str:
    return f"{scenes.said(scene, [CODE, CODE])} {scene.background.words()}"


def _told(scene: Scene) -> tuple[Placed, ...]:
    return scene.things if scene.relation else scene.things[:1]


class Judge:
    """Tells from a picture whether it shows what was asked for."""

    def __init__(self, model: Model, encode: Encode, things: Tensor, likenesses: Tensor, owners: Sequence[int]) -> None:
        """things (N, S, S, 4): the drawings asked for; likenesses (M, S, S, 4): drawings of them, and whose each is"""
        self.network = features.FeatureNet()
        self.boxes = [box(drawing[..., 3] > 127) for drawing in things]

        def through(pictures: list[Tensor]) -> Tensor:
            parts = torch.stack(pictures).split(16)
            return torch.cat([decode(model.vae, encode(part).to(model.device)).cpu() for part in parts])

        large = through([_alone(drawing, DRAWING_SIZE, colour) for drawing in likenesses for colour in CALM])
        small = through([_alone(drawing, SMALL, colour) for drawing in likenesses for colour in CALM])
        self.large, self.small = (
            self._deep(large),
            self._deep(torch.stack([_middle_half(each, HALF) for each in small])),
        )
        self.owners = torch.tensor(owners).repeat_interleave(len(CALM))
        dice = random.Random(11)
        known = through([self._some(kind, things, dice) for kind in KINDS for _ in range(PER_KIND)])
        corners = self._corners(known)
        self.mean, self.scale = corners.mean(0), corners.std(0).clamp(min=1e-6)
        self.known = normalize((corners - self.mean) / self.scale, dim=1)

    def _deep(self, pictures: Tensor) -> Tensor:
        return normalize(self.network(pictures).deep, dim=1)

    @staticmethod
    def _some(kind: str, things: Tensor, dice: random.Random) -> Tensor:
        colours = tuple(dice.sample(drawings.BACKGROUND_NAMES, 2 if kind in scenes.PATTERNS else 1))
        thing = Placed(dice.randrange(len(things)), dice.uniform(-0.1, 0.1), dice.uniform(-0.1, 0.1), DRAWING_SIZE)
        return scenes.painted(Scene(Background(kind, colours), (thing,)), things, dice)

    def _corners(self, pictures: Tensor) -> Tensor:
        """(N, D): early features of the corners alone, put together to a small picture, in colour and in grey of one
        contrast"""
        top, bottom = pictures[:, :, :CORNER], pictures[:, :, -CORNER:]
        both = torch.cat([top, bottom], 2)
        corners = torch.cat([both[..., :CORNER], both[..., -CORNER:]], 3)
        grey = corners.mean(1, keepdim=True)
        spread = grey.std((2, 3), keepdim=True).clamp(min=0.02)  # an even colour stays even
        grey = ((grey - grey.mean((2, 3), keepdim=True)) / spread).clamp(-3, 3) / 2
        return torch.cat([self.network(each).statistics() for each in (corners, grey.expand(-1, 3, -1, -1))], 1)

    def background(self, picture: Tensor) -> str:
        found = (self._corners(picture[None])[0] - self.mean) / self.scale
        return KINDS[int((self.known @ normalize(found, dim=0)).argmax()) // PER_KIND]

    def nearest(self, picture: Tensor) -> int:
        """The thing that a picture (3, H, W) shows."""
        return int(self.owners[int((self.large @ self._deep(picture[None])[0]).argmax())])

    def nearest_beside(self, picture: Tensor) -> tuple[int, ...]:
        """The things on the left and on the right."""
        halves = torch.stack([_middle_half(picture, x) for x in (HALF // 2, HALF + HALF // 2)])
        return tuple(int(self.owners[i]) for i in (self._deep(halves) @ self.small.T).argmax(1).tolist())

    def right(self, asked: Asked, picture: Tensor) -> bool:
        if asked.kind in ("pattern", "place"):
            return self.background(picture) == asked.wanted
        if asked.kind == "thing":
            return self.nearest(picture) == asked.things[0]
        if asked.kind == "two":
            return self.nearest_beside(picture) == asked.things
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


def _alone(drawing: Tensor, size: float, colour: str) -> Tensor:
    """(S, S, 4) -> (3, S, S): a drawing in the middle of an even background"""
    scene = Scene(Background("flat", (colour,)), (Placed(0, 0, 0, size),))
    return scenes.painted(scene, drawing[None], random.Random(0))


def _middle_half(picture: Tensor, x: int) -> Tensor:
    """The square around (x, the middle), half as wide as the picture, as large as it: (3, S, S) -> (3, S, S)"""
    part = picture[None, :, HALF // 2 : HALF // 2 + HALF, x - HALF // 2 : x + HALF // 2]
    return interpolate(part, size=PICTURE_SIZE, mode="bicubic")[0].clamp(-1, 1)


def clear_backgrounds(drawing: Tensor) -> list[str]:
    """Of CALM, those from which three quarters of a drawing (S, S, 4) are told; the one with most of it at least."""
    shares = {}
    opaque = drawing[..., 3] > 127
    for colour in CALM:
        away = (drawing[..., :3].float() - drawings.BACKGROUND_RGB[drawings.BACKGROUND_NAMES.index(colour)]).abs()
        shares[colour] = float(((away.amax(-1) / 255 > CLEAR) & opaque).sum() / opaque.sum().clamp(min=1))
    return [c for c, share in shares.items() if share >= 0.75] or [max(shares, key=lambda colour: shares[colour])]


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
    """Parts of (H, W) that hang together by more than NECK, those of at least PART of the largest."""
    left = -max_pool2d(-mask[None, None].float(), NECK, 1, NECK // 2)
    if not left.any():
        left = mask[None, None].float()
    sizes: list[float] = []
    while left.any():
        part = torch.zeros_like(left)
        part.view(-1)[left.view(-1).argmax()] = 1
        while True:
            grown = max_pool2d(part, 3, 1, 1) * left
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
    judge = Judge(model, encode, things, likenesses, [k for k, numbers in enumerate(own) for _ in numbers])
    asked = requests(len(things), [*map(scenes.is_colourful, things)], each, seed, [*map(clear_backgrounds, things)])

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
    """Words that `share` or `tools.study words` kept, by way: the same requests, two learned words side by side, and
    img2img that replaces a known thing in a scene."""
    model, encode = load_model(folder, device), encoder(folder, device)
    references = share.References(model, work / "references")
    learned = torch.load(words, weights_only=True)
    everything = drawings.load(work / "wide")
    result: dict[str, dict] = {}
    for way in [way for way in ("plain", "pair") if any(its_way == way for _, its_way, _ in learned)]:
        names = sorted({name for name, its_way, _ in learned if its_way == way})
        seeds = min(s for _, its_way, s in learned if its_way == way)
        vectors = [learned[name, way, seeds] for name in names]
        likenesses = torch.stack([as_drawing(picture) for picture in references.pixels])
        things = likenesses[[references.names.index(name) for name in names]]
        owners = [names.index(name) if name in names else -1 for name in references.names]
        judge = Judge(model, encode, things, likenesses, owners)
        clear = [*map(clear_backgrounds, things)]
        asked = requests(len(names), [*map(scenes.is_colourful, things)], each, seed, clear)

        def cond(one: Asked, vectors: list = vectors) -> Tensor:
            return encoded(model, one.text, [vectors[i][0] for i in one.things])

        nothing = encoded(model, "", [])
        negatives = [nothing if v[1] is None else encoded(model, CODE, [v[1]]) for v in vectors]
        unconds = torch.stack([negatives[one.things[0]] for one in asked])
        pictures = draw(model, asked, cond, unconds, OF_LEARNED)
        result[way] = figures(judge, asked, pictures) | {"of each": each}
        result[way] |= _edited(model, encode, judge, everything, vectors, negatives)
        if "real" not in result:
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
    """A known thing in a scene becomes the learned one: the nearest thing is it, the background stays what it was. For
    each of STRENGTHS."""
    dice = random.Random(17)
    found = defaultdict(list)
    for i, (positive, _) in enumerate(vectors):
        for kind in dice.sample([k for k in KINDS if k != "flat"], 2):
            background = scenes.background_of(kind, dice)
            scene = Scene(background, (Placed(dice.randrange(len(everything.labels)), 0, 0, DRAWING_SIZE),))
            latents = encode(scenes.painted(scene, everything.rgba, dice)[None]).to(model.device)
            cond = encoded(model, prompt(scene), [positive])
            for strength in STRENGTHS:
                picture = share.redraw(model, latents, cond, negatives[i], strength, i, OF_LEARNED)
                found[f"img2img {strength:g} first"].append(judge.nearest(picture) == i)
                found[f"img2img {strength:g} background"].append(judge.background(picture) == kind)
    return {name: sum(outcomes) / len(outcomes) for name, outcomes in found.items()}


def _write(out: Path, name: str, result: dict, pictures: Sequence) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(result, indent=1))
    save_sheet([pictures[i : i + 16] for i in range(0, len(pictures), 16)], out / f"{name}.png")
