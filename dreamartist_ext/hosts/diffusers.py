"""The engine's first host: a Stable Diffusion in diffusers' parts, without a WebUI."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from einops import rearrange
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from ..engine.errors import ModelError, SettingError
from ..engine.guidance import combine
from ..engine.host import Vectors
from ..engine.noise import NoiseSchedule, PredictionType
from ..engine.preview import to_image
from .frozen import frozen
from .prompt_tokens import Chunk, chunks_of, padded, words_for

ENCODER = "clip"  # the one text encoder of SD 1 and SD 2


@dataclass(frozen=True)
class Components:
    """The parts of a Stable Diffusion, and what is known of where it came from."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler
    name: str


class DiffusersHost:
    """See `engine.host.DiffusionHost`. Order of a joined batch: [uncond, cond].

    `picture_size` is the side in pixels of the pictures that the model was trained on.
    """

    def __init__(self, parts: Components, device: torch.device, precision: torch.dtype) -> None:
        """precision: float32, or the type to autocast the network's arithmetic to."""
        self.parts = parts
        self.device = device
        self.precision = precision
        for module in self._modules():
            module.float().to(device)
        for convolutional in (parts.unet, parts.vae):
            convolutional.to(memory_format=torch.channels_last)
        self.schedule = NoiseSchedule(
            parts.scheduler.alphas_cumprod.to(device), PredictionType(parts.scheduler.config.prediction_type)
        )
        self.picture_size = int(parts.unet.config.sample_size) * self.latent_factor
        if (channels := int(parts.unet.config.in_channels)) != 4:
            raise ModelError(f"{parts.name} takes {channels} input channels (an inpainting model?), not 4.")
        self._bound: dict[str, Vectors] = {}
        self._identity = ""

    @property
    def name(self) -> str:
        return self.parts.name

    def check_loaded(self) -> None:
        """Nobody else can take this model away."""

    def identity(self) -> str:
        """Device, precision and a digest of the sum of every tensor."""
        if not self._identity:
            digest = hashlib.sha256()
            for module in self._modules():
                for name, tensor in module.state_dict().items():
                    digest.update(f"{name} {tuple(tensor.shape)} {float(tensor.double().sum())!r}".encode())
            self._identity = f"{self.device.type} {self.precision} {digest.hexdigest()[:16]}"
        return self._identity

    def _modules(self) -> tuple[nn.Module, ...]:
        return self.parts.unet, self.parts.vae, self.parts.text_encoder

    @property
    def latent_factor(self) -> int:
        """Pixels per latent, along one side."""
        return 2 ** (len(self.parts.vae.config.block_out_channels) - 1)

    def session(self) -> AbstractContextManager[None]:
        """Frozen parameters and evaluation mode inside; every flag as before afterwards."""
        return frozen(self._modules())

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)

    def encode_images(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():
            posterior = self.parts.vae.encode(pixels.to(memory_format=torch.channels_last)).latent_dist
        return posterior.mean * self.parts.vae.config.scaling_factor

    def decode_latents(self, latents: Tensor) -> Tensor:
        return self.parts.vae.decode(latents / self.parts.vae.config.scaling_factor).sample

    def predict(self, noisy_latents: Tensor, timesteps: Tensor, cond: Tensor) -> Tensor:
        noisy_latents = noisy_latents.contiguous(memory_format=torch.channels_last)
        with self._autocast():
            return self.parts.unet(noisy_latents, timesteps, cond).sample.float()

    @contextmanager
    def bind(self, embeddings: Mapping[str, Vectors]) -> Iterator[None]:
        before = self._bound
        self._bound = {**before, **embeddings}
        try:
            yield
        finally:
            self._bound = before

    def token_ids(self, text: str) -> list[int]:
        """Token ids without start and end."""
        return self.parts.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids

    def initial_vectors(self, text: str, count: int) -> Vectors:
        """Vector i of `count` is row floor(i * rows / count) of the text's, as in the WebUI."""
        ids = self.token_ids(text)
        if not ids:
            raise SettingError("initialization_text must hold at least one word; * is a neutral one.")
        rows = self._token_embedding().weight.detach()[torch.tensor(ids, device=self.device)]
        return {ENCODER: rows[[i * len(rows) // count for i in range(count)]].float().clone()}

    def _token_embedding(self) -> nn.Embedding:
        return self.parts.text_encoder.get_input_embeddings()

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """(B, 77 n, width), n the chunks of the longest prompt; equal prompts are encoded once."""
        unique = list(dict.fromkeys(prompts))
        words = words_for({name: len(v[ENCODER]) for name, v in self._bound.items()}, self.token_ids)
        rows = [chunks_of(self.token_ids(prompt), words) for prompt in unique]
        longest = max(len(row) for row in rows)
        encoded = self._encode_chunks([chunk for row in rows for chunk in row + [Chunk()] * (longest - len(row))])
        cond = rearrange(encoded, "(b n) t w -> b (n t) w", n=longest)
        return cond[[unique.index(prompt) for prompt in prompts]]

    def _encode_chunks(self, chunks: Sequence[Chunk]) -> Tensor:
        tokenizer = self.parts.tokenizer
        start, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        ids = torch.tensor([padded(chunk, start, end, pad) for chunk in chunks], device=self.device)

        def put_vectors(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            return torch.stack([self._with_vectors(row, chunk) for row, chunk in zip(output, chunks, strict=True)])

        hook = self._token_embedding().register_forward_hook(put_vectors)
        try:
            return self.parts.text_encoder(ids).last_hidden_state
        finally:
            hook.remove()

    def _with_vectors(self, row: Tensor, chunk: Chunk) -> Tensor:
        """row (77, width) of one chunk, with its embeddings' vectors in their places"""
        pieces, done = [], 0
        for offset, name in chunk.places:
            vectors = self._bound[name][ENCODER].to(row)
            pieces += [row[done : offset + 1], vectors]  # + 1 for the start token
            done = offset + 1 + len(vectors)
        return torch.cat([*pieces, row[done:]])

    def join(self, uncond: Tensor, cond: Tensor) -> Tensor:
        """The shorter side is filled with empty chunks, as the WebUI's "pad prompt" does."""
        missing = (cond.shape[1] - uncond.shape[1]) // 77
        if missing > 0:
            uncond = self._filled(uncond, missing)
        elif missing < 0:
            cond = self._filled(cond, -missing)
        return torch.cat([uncond, cond])

    def _filled(self, cond: Tensor, chunks: int) -> Tensor:
        return torch.cat([cond, self._encode_chunks([Chunk()]).repeat(len(cond), chunks, 1)], dim=1)

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[str],
        negative_prompts: Sequence[str],
        seeds: Sequence[int],
        steps: int = 25,
        guidance_scale: float = 7.0,
        width: int = 0,
        height: int = 0,
        on_step: Callable[[int], object] = lambda pictures: None,
    ) -> list[Image.Image]:
        """DDIM pictures, one per prompt; a seed gives the same noise on every device.

        `on_step` is told after each step how many pictures have come one step further.
        """
        size = [(side or self.picture_size) // self.latent_factor for side in (height, width)]
        channels = int(self.parts.unet.config.in_channels)
        noise = [torch.randn(channels, *size, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        latents = torch.stack(noise).to(self.device)
        with self.session():
            cond = self.join(self.encode_prompts(negative_prompts), self.encode_prompts(prompts))
            scheduler = DDIMScheduler.from_config(self.parts.scheduler.config, clip_sample=False)
            scheduler.set_timesteps(steps)
            for timestep in scheduler.timesteps:
                batch = timestep.to(self.device).repeat(2 * len(latents))
                uncond_pred, cond_pred = self.predict(latents.repeat(2, 1, 1, 1), batch, cond).chunk(2)
                prediction = combine(uncond_pred, cond_pred, guidance_scale)
                latents = scheduler.step(prediction, timestep, latents).prev_sample
                on_step(len(latents))
            pixels = torch.cat([self.decode_latents(part) for part in latents.split(4)])
        return [to_image(picture) for picture in pixels]
