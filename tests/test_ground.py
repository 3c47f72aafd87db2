"""The tools that give the embedded model an inhabited word space, on tiny networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from dreamartist_ext.hosts.diffusers.model_files import EMBEDDED_MODEL
from tools.embedded_model import (
    captions,
    codes,
    drawings,
    latents,
    on_gpu,
    parts,
    routing,
    share,
    stand_in,
    student,
    views,
)
from tools.embedded_model.measure import load_model
from tools.embedded_model.seeing import seeing_unet
from tools.embedded_model.shapes import make_text_encoder, make_unet
from tools.embedded_model.widening import widened_text_encoder, widened_unet

WIDTH = 192


@pytest.fixture(scope="module")
def text() -> CLIPTextModel:
    torch.manual_seed(0)
    return make_text_encoder(vocabulary=50, start=48, end=49).eval()


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    return torch.randint(0, 48, (2, 77), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_doubled_text_encoder_says_the_same_twice(text, ids):
    wide = widened_text_encoder(text).eval()
    assert wide.config.hidden_size == 2 * WIDTH
    assert wide.config.num_attention_heads == 2 * text.config.num_attention_heads
    said = text(ids).last_hidden_state
    torch.testing.assert_close(wide(ids).last_hidden_state, said.repeat(1, 1, 2), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("straight", [0.0, 0.5, 2.0])
def test_the_u_net_on_doubled_text_predicts_the_same(text, ids, straight):
    torch.manual_seed(2)
    unet = make_unet((32, 64)).eval()
    cond = text(ids).last_hidden_state
    noisy, timesteps = torch.randn(2, 4, 16, 16), torch.tensor([100, 900])
    expected = unet(noisy, timesteps, cond).sample
    wide = widened_unet(unet, straight).eval()
    assert torch.allclose(wide(noisy, timesteps, cond.repeat(1, 1, 2)).sample, expected, atol=1e-5)


@torch.no_grad()
def test_only_a_straight_u_net_reads_what_the_copies_do_not_share(text, ids):
    unet = make_unet((32, 64)).eval()
    same = text(ids).last_hidden_state.repeat(1, 1, 2)
    apart = same + torch.cat([torch.ones(1, 1, WIDTH), -torch.ones(1, 1, WIDTH)], -1) * torch.randn(2, 77, 1)
    noisy, timesteps = torch.randn(2, 4, 16, 16), torch.tensor([100, 900])
    for straight, reads in ((0.0, False), (0.5, True)):
        wide = widened_unet(unet, straight).eval()
        predicted = [wide(noisy, timesteps, cond).sample for cond in (same, apart)]
        assert torch.allclose(*predicted, atol=1e-5) != reads


def test_no_held_out_thing_is_among_the_wide_names_in_any_spelling():
    names = drawings.wide_names()
    assert len(names) == len(set(names)) > 1000
    assert not [name for name in names if drawings.is_held_out(name)]
    assert not drawings.HELD_OUT & {part for name in names for part in name.split("-")}


@pytest.mark.parametrize("name", ["brown-mushroom", "person-with-crown", "pine-apple", "owl", "hedgehogs", "desert"])
def test_a_held_out_thing_is_known_by_other_spellings(name):
    assert drawings.is_held_out(name)


@pytest.mark.parametrize("name", ["bowl-with-spoon", "banjo", "rock", "chess-pawn"])
def test_other_things_are_not_held_out(name):
    assert not drawings.is_held_out(name)


def test_near_copies_are_found_whatever_is_under_them():
    torch.manual_seed(3)
    blocks = torch.rand(6, 4, 8, 8).repeat_interleave(16, 2).repeat_interleave(16, 3).permute(0, 2, 3, 1)
    rgba = (blocks * 255).byte()
    labels = [(f"thing-{i}", "noto") for i in range(6)]
    copy = (rgba[2].int() + 3).clamp(0, 255).byte()[None]
    found = drawings.near_copies(drawings.Drawings(copy, [("crown", "flat")]), drawings.Drawings(rgba, labels))
    assert [(held, known) for held, known, _ in found] == [(("crown", "flat"), ("thing-2", "noto"))]


def make_folder(folder: Path) -> None:
    """Four drawings of known things with latents of noise, as `latents.grow` leaves them."""
    concepts = drawings.training_concepts()[:4]
    generator = np.random.default_rng(0)
    np.save(folder / "rgba.npy", generator.integers(0, 255, (4, 128, 128, 4), dtype=np.uint8))
    (folder / "labels.json").write_text(json.dumps([[concept, "noto"] for concept in concepts]))
    np.save(folder / "latents.npy", generator.standard_normal((4, 10, 4, 16, 16)).astype(np.float16))
    done = np.zeros((4, 10), np.uint8)
    done[:, :3] = 1
    np.save(folder / "done.npy", done)
    views.make(folder, fit_steps=2)


@pytest.fixture
def small_model(tmp_path, monkeypatch) -> Path:
    """The shipped tokenizer and VAE with a tiny U-Net and text encoder."""
    folder = tmp_path / "model"
    folder.mkdir()
    for part in ("tokenizer", "vae"):
        (folder / part).symlink_to(EMBEDDED_MODEL / part)
    torch.manual_seed(4)
    config = CLIPTextModel.from_pretrained(EMBEDDED_MODEL / "text_encoder").config.to_dict()
    small = config | {"hidden_size": 384, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    CLIPTextModel(CLIPTextConfig(**small)).save_pretrained(folder / "text_encoder")
    unet = make_unet((32, 192))  # where heads are set, as wide as the shipped one
    type(unet).from_config(dict(unet.config) | {"cross_attention_dim": 384}).save_pretrained(folder / "unet")
    return folder


@pytest.fixture
def made(tmp_path) -> views.Views:
    folder = tmp_path / "data"
    folder.mkdir()
    make_folder(folder)
    return views.load(folder)


def test_views_are_what_was_there_five_of_each_drawing_and_one_for_scenes(made):
    assert len(made.drawing) == len(made.seen) == len(made.latents) == 4 * 3 + 4 * len(views.KINDS) + 4
    assert [made.drawing[made.in_scenes(number)].item() for number in range(4)] == [0, 1, 2, 3]
    assert (made.background >= 0).tolist() == [True] * (len(made.drawing) - 4) + [False] * 4
    assert made.named[:12].all(), "its name is true of a drawing as it is"
    assert made.named[12:-4].sum() == 4 * views.KINDS.count("mirrored"), "and of a mirrored one, and of no other"


def test_the_mapper_sees_a_drawing_where_its_picture_has_it(tmp_path, made):
    """On the picture's background, what is seen is the picture itself, made small."""
    growing = latents.Growing(tmp_path / "data")
    for row in range(12):
        drawing, background = int(made.drawing[row]), int(made.background[row])
        colour, *_ = latents.placement_of(drawing, background)
        picture = torch.nn.functional.adaptive_avg_pool2d(growing.pictures([(drawing, background)]), views.SEEN_SIZE)[0]
        seen = made.seen[row].float()
        said = (seen[:3] + (1 - seen[3:]) * colour[:, None, None] / 255) * 2 - 1
        torch.testing.assert_close(said, picture, atol=5e-3, rtol=0)


def test_a_view_is_mirrored_turned_and_in_other_hues():
    box = torch.zeros(1, 64, 64, 4, dtype=torch.uint8)
    box[:, 8:24, 8:24] = torch.tensor([255, 0, 0, 255])  # red, at the upper left
    none, whole = torch.zeros(1), torch.ones(1)
    plain = views.placed(box, whole, torch.zeros(1, 2), none, whole, none > 0)
    torch.testing.assert_close(plain[0], box[0].permute(2, 0, 1) / 255)
    mirrored = views.placed(box, whole, torch.zeros(1, 2), none, whole, none == 0)
    torch.testing.assert_close(mirrored, plain.flip(3))
    turned = views.placed(box, whole, torch.zeros(1, 2), none + torch.pi / 2, whole, none > 0)
    torch.testing.assert_close(turned, plain.rot90(1, (2, 3)), atol=1e-4, rtol=0)
    green = views.other_hue(plain, none + 2 * torch.pi / 3)
    torch.testing.assert_close(green, plain[:, [2, 0, 1, 3]], atol=1e-5, rtol=0)
    on_blue = drawings.over(plain, torch.tensor([[0.0, 0.0, 255.0]]))
    assert on_blue[0, :, 10, 10].tolist() == [1, -1, -1]
    assert on_blue[0, :, 40, 40].tolist() == [-1, -1, 1]


def weights(snapshot: Path) -> dict[str, torch.Tensor]:
    state = torch.load(snapshot, weights_only=True)
    return {f"{part}.{name}": v for part in ("unet", "text", "codes") for name, v in state[part].items()} | {
        f"ema.{i}": v for i, v in enumerate(state["ema"])
    }


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, msg=name)


@torch.no_grad()
def test_a_u_net_that_sees_text_at_every_level_draws_as_before_at_first(text, ids):
    torch.manual_seed(6)
    unet = make_unet((32, 64)).eval()
    noisy, timesteps = torch.randn(2, 4, 16, 16), torch.tensor([100, 900])
    cond = text(ids).last_hidden_state
    seeing = seeing_unet(unet).eval()
    torch.testing.assert_close(seeing(noisy, timesteps, cond).sample, unet(noisy, timesteps, cond).sample)
    attention = seeing.down_blocks[0].attentions[0]
    torch.nn.init.normal_(attention.proj_out.weight)
    assert not torch.allclose(seeing(noisy, timesteps, cond).sample, unet(noisy, timesteps, cond).sample)
    assert seeing_unet(seeing) is seeing


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("more", [{}, {"whole": True}, {"whole": True, "workers": 2}])
def test_a_training_that_stopped_makes_the_same_step_as_one_that_did_not(tmp_path, small_model, more):
    folder = tmp_path / "data"
    at_once, stopped = tmp_path / "at_once.pt", tmp_path / "stopped.pt"
    codes.train(folder, small_model, at_once, minutes=1, batch=3, steps=4, **(more | {"workers": 0}))
    codes.train(folder, small_model, stopped, minutes=1, batch=3, steps=2, **more)
    codes.train(folder, small_model, stopped, minutes=1, batch=3, steps=4, **more)
    assert_same(weights(at_once), weights(stopped))


@pytest.mark.usefixtures("made")
def test_a_training_with_set_heads_goes_on_where_it_stopped(tmp_path, small_model, monkeypatch):
    folder, model = tmp_path / "data", small_model
    for name, few in (("WATCHED", (900,)), ("PASSES", 1), ("BATCH", 3)):
        monkeypatch.setattr(routing, name, few)
    first, once, twice = (tmp_path / f"{name}.pt" for name in ("first", "once", "twice"))
    codes.train(folder, model, first, minutes=1, batch=3, steps=2, whole=True)
    for out in (once, twice):
        routing.route(folder, model, first, out)
    begun = weights(once)
    directions = begun["codes.parts.directions"]
    torch.testing.assert_close(directions @ directions.T, torch.eye(len(directions)), atol=1e-4, rtol=0)
    heads = begun["codes.parts.heads"]
    assert all(len(set(block)) == parts.TAKEN for block in heads.tolist())
    assert_same(begun, weights(twice))
    codes.train(folder, model, once, minutes=1, batch=3, steps=4, whole=True)
    codes.train(folder, model, twice, minutes=1, batch=3, steps=2, whole=True)
    codes.train(folder, model, twice, minutes=1, batch=3, steps=4, whole=True)
    assert_same(weights(once), weights(twice))
    out = begun["unet." + parts.BLOCKS[0] + ".to_out.0.weight"]
    assert (out.unflatten(1, (6, 32))[:, heads[0, 0]] == 0).all(), "set heads write nothing at first"


@pytest.mark.usefixtures("made")
def test_a_code_stands_where_the_caption_has_it_and_nowhere_else(tmp_path, small_model):
    folder = tmp_path / "data"
    begun, _ = codes.begin(folder, small_model, seed=0)
    lines = [
        captions.Line(f"a {captions.CODE} on a red background", (1,)),
        captions.Line("a cat"),
        captions.Line(f"a {captions.CODE} beside a {captions.CODE}", (2, 0)),
    ]
    said = begun.captions(lines, None)
    ids, stands, which = said.ids, said.codes, said.which
    assert said.drawn.tolist() == [1, 2, 0]
    start = begun.captions.tokenizer.bos_token_id
    assert ids[0, 0] == ids[1, 0] == start
    assert (stands[0] >= 0).nonzero().flatten().tolist() == list(range(2, 8))
    assert which[0, 2:8].tolist() == [0, 1, 2, 3, 4, 5]
    assert (stands[1] == -1).all()
    between = len(begun.captions.tokenizer(" beside a ", add_special_tokens=False).input_ids)
    second = 8 + between
    assert (stands[2] == 1).nonzero().flatten().tolist() == list(range(2, 8))
    assert (stands[2] == 2).nonzero().flatten().tolist() == list(range(second, second + 6))
    assert which[2, second : second + 6].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(ids[0]) == 1 + 1 + 6 + between + 6 + 1


def test_the_codes_have_the_size_that_is_held(tmp_path):
    seen = torch.randn(5, 4, 24, 24)
    made = student.Codes(seen, 64, torch.randn(64)).of(seen)
    torch.testing.assert_close(made.square().mean(-1).sqrt(), torch.full((5, 6), student.CODE_SIZE))


def test_the_stand_in_learns_an_encoder_that_looks_at_patches():
    torch.manual_seed(5)
    pictures = (torch.rand(80, 3, 2, 2) * 2 - 1).repeat_interleave(8, 2).repeat_interleave(8, 3)
    latents = torch.nn.functional.avg_pool2d(pictures, 8)[:, [0, 1, 2, 0]]
    _, error = stand_in.fit(pictures, latents, steps=60)
    assert error < 0.5 * latents.var()


def test_the_share_of_the_way_is_0_at_nothing_and_1_at_free_output():
    def row(way: str, loss: float) -> dict:
        ranks = {"ranks": [0, 2], "ranks_on_colours": [5, 0]}
        return {"thing": "crown", "seed": 0, "way": way, "empty": 0.05, "loss": loss, "backgrounds": 1.0, **ranks}

    figures = share.summary([row("output", 0.02), row("plain", 0.05), row("pair", 0.035)])
    assert figures["output"]["share"] == 1
    assert figures["plain"]["share"] == 0
    assert figures["pair"]["share"] == pytest.approx(0.5)
    assert figures["plain"]["first ranks"] == 0.5
    assert figures["plain"]["among three ranks"] == 1


def icons_of(labels: list[list[str]], folder: Path) -> Path:
    """A box of another colour for each, in the layout of the icon packages."""
    boxes = {
        concept: {"body": f'<path fill="#{60 * i:02x}4020" d="M0 0h8v16h-8z"/>'}
        for i, (concept, _) in enumerate(labels)
    }
    for style, package in drawings.STYLES.items():
        (folder / package).mkdir(parents=True)
        (folder / package / "icons.json").write_text(json.dumps({"icons": boxes if style == "noto" else {}}))
    return folder


def test_what_a_gpu_makes_comes_back_whole(tmp_path, small_model):
    """Here a CPU's, with all that such a machine does but measure."""
    pytest.importorskip("resvg_py", reason="no resvg_py; pip install resvg-py")
    folder, out = tmp_path / "work" / "wide", tmp_path / "out"
    folder.mkdir(parents=True)
    make_folder(folder)
    icons = icons_of(json.loads((folder / "labels.json").read_text()), tmp_path / "icons")
    packed = on_gpu.pack(tmp_path / "work", icons, tmp_path / "packed")
    sizes = ["--batch", "4", "--minutes", "0.02", "--backgrounds", "2", "--scenes", "5", "--steps", "0"]
    where = ["--device", "cpu", "--workers", "1", "--scratch", str(tmp_path / "scratch"), "--out", str(out)]
    on_gpu.main(["train", "--drawings", str(packed), "--model", str(small_model), *sizes, *where])
    rgba = np.load(tmp_path / "scratch" / "wide" / "rgba.npy")
    assert rgba.shape == (4, 128, 128, 4)
    assert (rgba[:, :, :64, 3] == 255).all(), "each icon is a box at the left"
    assert (rgba[:, :, 64:, 3] == 0).all()
    assert len(np.unique(rgba[:, 0, 0], axis=0)) == 4
    on_gpu.main(["join", "--parts", str(out), "--model", str(tmp_path / "joined")])
    model = load_model(tmp_path / "joined")
    assert model.unet.config.down_block_types == ["CrossAttnDownBlock2D"] * 2
    made = {path.relative_to(tmp_path / "joined") for path in (tmp_path / "joined").rglob("*.*")}
    assert made == {path.relative_to(EMBEDDED_MODEL) for path in EMBEDDED_MODEL.rglob("*.*")} - {
        Path(name) for name in ("README.md", "figures.json", "training_defaults.json")
    }
