"""The engine's first host: a Stable Diffusion in diffusers' parts, without a WebUI."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import Any

import torch
from diffusers import DDIMScheduler
from einops import rearrange
from PIL import Image
from torch import Tensor, nn

from ...engine.guidance import combine
from ...engine.host import BoundWords, Cond, Kept, Vectors
from ...engine.preview import to_image
from ...engine.transfer import to_device
from ..activations import diffusers_inputs, free_memory, kept_for_backward
from ..checkpointing import checkpointed
from ..conditioning import hidden_states, joined, zeroed
from ..families import INPAINTING_CHANNELS, check_channels
from ..frozen import frozen
from ..inpainting import InpaintingContext
from ..precision import computes_in, halved
from .components import Components, encoders_of, schedule_of
from .prompt_tokens import Chunk, chunks_of, words_for
from .text_encoding import TextEncoder

FP16_LOSS_SCALE = 2.0**12
MOST_KNOWN, LONGEST_KNOWN = 10_000, 1_000  # prompts whose token ids are remembered; characters


class DiffusersHost(BoundWords):
    """See `engine.host.DiffusionHost`. Order of a joined batch: [uncond, cond].

    `picture_size` is the side in pixels of the pictures that the model was trained on; `remark` is empty.
    """

    def __init__(self, parts: Components, device: torch.device, precision: torch.dtype, clip_skip: int = 1) -> None:
        """precision: float32, or the type to autocast the network's arithmetic to; on a GPU the U-Net's and the text
        encoder's weights lie in it. The VAE computes in float32 always: in fp16 some overflow. clip_skip: as
        `encoders_of`."""
        super().__init__()
        check_channels(int(parts.unet.config.in_channels), parts.name)
        self.encoders = encoders_of(parts, clip_skip)
        self.clip_skip = clip_skip
        self.parts = parts
        self.device = device
        self.precision = precision
        self._identity = ""
        self._is_halved = computes_in(device, precision)
        self._place()
        self.schedule = schedule_of(parts, device)
        self.picture_size = int(parts.unet.config.sample_size) * self.latent_factor
        self.remark = ""
        self._context = InpaintingContext(self.encode_images, self.latent_factor)
        self._known_ids: dict[tuple[str, str], list[int]] = {}

    def _place(self) -> None:
        """Bring the weights to where, and into the types in which, they compute."""
        for module in self._modules():
            module.float()
        if self._is_halved:
            self.identity()  # of the weights as they are in the file
            for module in (self.parts.unet, *(encoder.model for encoder in self.encoders)):
                halved(module, self.precision)
        for module in self._modules():
            module.to(self.device)
        for convolutional in (self.parts.unet, self.parts.vae):
            convolutional.to(memory_format=torch.channels_last)

    @property
    def name(self) -> str:
        return self.parts.name

    @cached_property
    def checkpoint_hash(self) -> str:
        """The first ten digits of the SHA-256 of the checkpoint's file, as the WebUI shows it; of the tensors' sums for
        a model in a folder."""
        if self.parts.file is None:
            return self.identity().split()[2][:10]
        digest = hashlib.sha256()
        with self.parts.file.open("rb") as file:
            while block := file.read(2**22):
                digest.update(block)
        return digest.hexdigest()[:10]

    @property
    def loss_scale(self) -> float:
        """In fp16 small gradients are lost; the trainer multiplies its loss by this, and divides what comes back."""
        return FP16_LOSS_SCALE if self.precision is torch.float16 else 1.0

    def check_loaded(self) -> None:
        """Nobody else can take this model away."""

    def identity(self) -> str:
        """Device, precision and a digest of the sum of every tensor."""
        if not self._identity:
            digest = hashlib.sha256()
            for module in self._modules():
                for name, tensor in module.state_dict().items():
                    digest.update(f"{name} {tuple(tensor.shape)} {float(tensor.double().sum())!r}".encode())
            skip = f" skip {self.clip_skip}" if self.clip_skip > 1 else ""
            self._identity = f"{self.device.type} {self.precision} {digest.hexdigest()[:16]}{skip}"
        return self._identity

    def _modules(self) -> tuple[nn.Module, ...]:
        return self.parts.unet, self.parts.vae, *(encoder.model for encoder in self.encoders)

    @property
    def widths(self) -> dict[str, int]:
        """Of a token vector, by text encoder."""
        return {encoder.key: encoder.width for encoder in self.encoders}

    @property
    def is_inpainting(self) -> bool:
        return int(self.parts.unet.config.in_channels) == INPAINTING_CHANNELS

    @property
    def latent_factor(self) -> int:
        """Pixels per latent, along one side."""
        return 2 ** (len(self.parts.vae.config.block_out_channels) - 1)

    @property
    def size_unit(self) -> int:
        """The sides of pictures must be multiples of this, so that the U-Net can halve its latents."""
        return self.latent_factor * 2 ** (len(self.parts.unet.config.block_out_channels) - 1)

    def session(self) -> AbstractContextManager[None]:
        """Frozen parameters and evaluation mode inside; every flag as before afterwards."""
        return frozen(self._modules())

    def less_memory(self) -> AbstractContextManager[None]:
        """Inside, the U-Net's blocks are computed a second time in the backward pass instead of being kept."""
        return checkpointed(self.parts.unet)

    def kept_for_backward(self, batch: int, height: int, width: int) -> Kept:
        unet = self.parts.unet
        inputs = partial(diffusers_inputs, unet.config, height, width)
        return kept_for_backward(unet, self.precision, batch, inputs, is_cast_by_cuda=self._is_halved)

    def free_memory(self) -> int:
        return free_memory(self.device)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)

    def encode_images(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():
            posterior = self.parts.vae.encode(pixels.to(memory_format=torch.channels_last)).latent_dist
        return posterior.mean * self.parts.vae.config.scaling_factor

    @torch.no_grad()
    def encode_posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.parts.vae.encode(pixels.to(memory_format=torch.channels_last)).latent_dist
        factor = self.parts.vae.config.scaling_factor
        return posterior.mean * factor, posterior.std * factor

    @torch.no_grad()
    def attention_features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        block = self.parts.vae.encoder.mid_block.attentions[0]
        found: list[Tensor] = []
        hook = block.register_forward_pre_hook(lambda _module, inputs: found.append(inputs[0]))
        try:
            self.parts.vae.encode(pixels.to(memory_format=torch.channels_last))
        finally:
            hook.remove()
        hidden = block.group_norm(rearrange(found[0], "b c h w -> b c (h w)"))
        hidden = rearrange(hidden, "b c n -> b n c")
        return block.to_q(hidden).float(), block.to_k(hidden).float()

    def decode_latents(self, latents: Tensor) -> Tensor:
        return self.parts.vae.decode(latents / self.parts.vae.config.scaling_factor).sample

    def context_around(self, pixels: Tensor, hole: Tensor) -> Tensor | None:
        return self._context.around(pixels, hole) if self.is_inpainting else None

    def predict(self, noisy_latents: Tensor, timesteps: Tensor, cond: Cond, context: Tensor | None = None) -> Tensor:
        added = self._added(cond, *noisy_latents.shape[2:])
        if self.is_inpainting:
            noisy_latents = torch.cat([noisy_latents, self._context.given(noisy_latents, context)], dim=1)
        noisy_latents = noisy_latents.contiguous(memory_format=torch.channels_last)
        with self._autocast():
            states = hidden_states(cond)
            return self.parts.unet(noisy_latents, timesteps, states, added_cond_kwargs=added).sample.float()

    def _added(self, cond: Cond, height: int, width: int) -> dict[str, Tensor] | None:
        """SDXL's pooled vector and sizes (original, crop, target), which are the picture's own as in the WebUI."""
        if not isinstance(cond, dict):
            return None
        size = [height * self.latent_factor, width * self.latent_factor]
        sizes = to_device(torch.tensor([*size, 0, 0, *size], dtype=cond["vector"].dtype), self.device)
        return {"text_embeds": cond["vector"], "time_ids": sizes.repeat(len(cond["vector"]), 1)}

    def token_ids(self, text: str) -> list[int]:
        """Token ids without start and end, of the first text encoder."""
        return self.encoders[0].token_ids(text)

    def initial_vectors(self, text: str, count: int) -> Vectors:
        """Vector i of `count` is row floor(i * rows / count) of the text's, as in the WebUI."""
        return {encoder.key: encoder.initial_rows(text, count) for encoder in self.encoders}

    def mean_norms(self) -> dict[str, float]:
        return {encoder.key: encoder.mean_norm() for encoder in self.encoders}

    def encode_prompts(self, prompts: Sequence[str]) -> Cond:
        """Hidden states (B, 77 n, width), n the chunks of the longest prompt; SDXL: a dict with the pooled vector of
        the first chunk too."""
        rows = [self._chunks(prompts, encoder) for encoder in self.encoders]
        longest = max(len(row) for of_encoder in rows for row in of_encoder)
        states, pooled = [], None
        for encoder, of_encoder in zip(self.encoders, rows, strict=True):
            chunks = [chunk for row in of_encoder for chunk in row + [Chunk()] * (longest - len(row))]
            with self._autocast() if self._is_halved else nullcontext():
                hidden, vectors = encoder.encode(chunks, self._bound)
            states.append(rearrange(hidden.float(), "(b n) t w -> b (n t) w", n=longest))
            pooled = pooled if vectors is None else vectors[::longest].float()
        cond = torch.cat(states, dim=2)
        if pooled is not None:
            return {"crossattn": cond, "vector": pooled}
        return cond

    def _chunks(self, prompts: Sequence[str], encoder: TextEncoder) -> list[list[Chunk]]:
        """Of each prompt."""
        counts = {name: len(next(iter(vectors.values()))) for name, vectors in self._bound.items()}
        ids = partial(self._ids, encoder)
        words = words_for(counts, ids)
        return [chunks_of(ids(prompt), words) for prompt in prompts]

    def _ids(self, encoder: TextEncoder, text: str) -> list[int]:
        """As `TextEncoder.token_ids`; a training asks for the same few prompts all the time."""
        if len(text) > LONGEST_KNOWN:
            return encoder.token_ids(text)
        key = encoder.key, text
        if key not in self._known_ids:
            if len(self._known_ids) >= MOST_KNOWN:
                self._known_ids.clear()
            self._known_ids[key] = encoder.token_ids(text)
        return self._known_ids[key]

    def encode_negatives(self, prompts: Sequence[str]) -> Cond:
        """`encode_prompts` for the unconditional branch; an empty prompt is all zeros in SDXL, as in the WebUI."""
        cond = self.encode_prompts(prompts)
        return zeroed(cond, [not prompt for prompt in prompts]) if isinstance(cond, dict) else cond

    def join(self, uncond: Cond, cond: Cond) -> Cond:
        """The shorter side is filled with empty chunks, as the WebUI's "pad prompt" does."""
        return joined(uncond, cond, lambda: self.encode_prompts([""]))

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
        channels = int(self.parts.unet.config.out_channels)
        noise = [torch.randn(channels, *size, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        latents = torch.stack(noise).to(self.device)
        with self.session():
            cond = self.join(self.encode_negatives(negative_prompts), self.encode_prompts(prompts))
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
