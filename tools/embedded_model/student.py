"""What is trained so that a learned word finds a space that is lived in: the text encoder, the U-Net, and the mapper
that gives every drawing its code."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from .captions import VECTORS, Captions, Said
from .latents import BF16_PAYS
from .parts import LOOKING, Looking, Parts, keep_clear
from .shapes import TIMESTEPS

CODE_SIZE = 0.3  # root mean square of a code's vectors, held: what inversion reaches in some hundred steps of 0.01
CODE_NOISE = 0.15  # of that size, at most
MAX_SNR = 5.0
TOWARDS_NOISE = 0.7  # t = 1000 u^0.7
# Of the SNR: -0.5 is half way from the loss of eps to that of the picture itself, and -1 the whole way. What a code
# says is decided where the SNR is small.
NOISY_WEIGHT = -0.75
NEW = ("down_blocks.0.attentions", "up_blocks.1.attentions")  # of a U-Net whose first level begins to see the text
AFTER = ("up_blocks.0.resnets.1", "up_blocks.0.upsamplers", "up_blocks.1.resnets")  # hears what the last heads write
# For batches of 32. Weights that are trained already only suffer at five times theirs; new ones learn nothing at it.
RATES = {"text": 6e-5, "unet": 4e-5, "reads": 4e-5, "writes": 4e-5, "after": 4e-5, "new": 1e-3, "mapper": 1.5e-3}
# Heads that are set (routing.py) write nothing at first, and what comes after them has never seen such a thing.
ROUTED_RATES = RATES | {"reads": 1.2e-4, "writes": 8e-4, "after": 3e-4}


def group_of(name: str) -> str:
    """The group of RATES of a weight of the U-Net."""
    if name.startswith(NEW):
        return "new"
    if name.startswith(AFTER):
        return "after"
    if "attn2" in name:
        return "writes" if "attn2.to_out" in name else "reads"
    return "unet"


class Codes(nn.Module):
    """The code of every view, by a mapper."""

    def __init__(self, seen: Tensor, width: int, start: Tensor) -> None:
        """seen (N, 4, S, S) fp16, start (width,): the word that every code begins near"""
        super().__init__()
        whole, hidden = seen.float().flatten(1), 1024
        self.width = width
        self.register_buffer("seen", seen, persistent=False)
        self.register_buffer("middle", whole.mean(0))
        self.register_buffer("spread", whole.std())
        self.parts = Parts(width)
        self.mapper = nn.Sequential(
            nn.Linear(whole.shape[1], hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Linear(hidden, VECTORS * width)
        )
        nn.init.normal_(self.mapper[-1].weight, std=1 / hidden**0.5)
        with torch.no_grad():
            self.mapper[-1].bias.copy_(start.repeat(VECTORS))

    def forward(self, rows: Tensor, noise: float) -> Tensor:
        """rows (B,) of the views -> (B, VECTORS, width)"""
        code = self.of(self.seen[rows])
        return code + noise * CODE_NOISE * CODE_SIZE * torch.randn_like(code) * torch.rand_like(code[:, :1, :1])

    def of(self, seen: Tensor) -> Tensor:
        """(B, 4, S, S) -> (B, VECTORS, width)"""
        code = self.mapper((seen.float().flatten(1) - self.middle) / self.spread).view(-1, VECTORS, self.width)
        code = CODE_SIZE * code / code.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-6)
        return code + self.parts(seen) if self.parts.routed else code

    @torch.no_grad()
    def mean(self) -> Tensor:
        """(VECTORS, width): the middle of the space, a good start for any new word"""
        parts = [self.of(part).sum(0) for part in self.seen.split(1024)]
        return sum(parts) / len(self.seen)


class Student:
    """What is trained."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text: CLIPTextModel,
        codes: Codes,
        tokenizer: CLIPTokenizer,
        device: str = "cpu",
    ) -> None:
        self.unet, self.text, self.codes = unet.to(device), text.to(device), codes.to(device)
        self.device = torch.device(device)
        self.captions = Captions(tokenizer)
        unet.set_attn_processor(AttnProcessor())  # on a CPU faster to train than the fused kind
        text.set_attn_implementation("eager")  # as above
        self.groups: dict[str, list[nn.Parameter]] = {"text": list(text.parameters())}
        for name, parameter in unet.named_parameters():
            self.groups.setdefault(group_of(name), []).append(parameter)
        self.groups["mapper"] = list(codes.mapper.parameters())
        self.parameters = [p for group in self.groups.values() for p in group]
        self.looking: Looking | None = None

    @property
    def rates(self) -> dict[str, float]:
        return ROUTED_RATES if self.codes.parts.routed else RATES

    def load(self, state: dict) -> None:
        """The weights of a snapshot."""
        self.unet.load_state_dict(state["unet"])
        self.text.load_state_dict(state["text"])
        self.codes.load_state_dict(state["codes"])
        if self.codes.parts.routed:
            self.looking = Looking(self.unet, self.codes.parts.heads.tolist())

    def keep_clear(self) -> None:
        if self.codes.parts.routed:
            keep_clear(self.text, self.codes.parts.directions)

    def encode(self, said: Said) -> Tensor:
        """(B, tokens, width)"""
        if not len(said.drawn):
            return self.text(said.ids).last_hidden_state
        vectors = self.codes(said.drawn, noise=1.0)
        row, place = (said.codes >= 0).nonzero(as_tuple=True)

        def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
            return output.index_put((row, place), vectors[said.codes[row, place], said.which[row, place]].to(output))

        handle = self.text.get_input_embeddings().register_forward_hook(hook)
        try:
            return self.text(said.ids).last_hidden_state
        finally:
            handle.remove()

    def loss(self, latents: Tensor, said: Said, abar: Tensor) -> Tensor:
        """(B,) weighted squared errors of eps, with the loss of heads that look elsewhere"""
        noise = torch.randn_like(latents)
        # one timestep from each of B equal shares, dealt to the pictures at random
        u = torch.randperm(len(latents), device=self.device) + torch.rand(len(latents), device=self.device)
        timesteps = (TIMESTEPS * (u / len(latents)) ** TOWARDS_NOISE).long().clamp(0, TIMESTEPS - 1)
        a = abar[timesteps][:, None, None, None]
        noisy = a.sqrt() * latents + (1 - a).sqrt() * noise
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda" or BF16_PAYS):
            predicted = self.unet(noisy, timesteps, self.encode(said)).sample.float()
        snr = abar[timesteps] / (1 - abar[timesteps])
        weight = snr.clamp(max=MAX_SNR) / snr * snr.clamp(max=MAX_SNR) ** NOISY_WEIGHT
        errors = (predicted - noise).square().mean((1, 2, 3)) * weight
        return errors if self.looking is None else errors + LOOKING * self.looking.loss(said)
