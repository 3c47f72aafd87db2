"""The engine's host inside Forge: the very model that the WebUI has loaded, or loads for the next picture.

Nothing is replaced for good: a session records what it touches (tensors, blocks, attention, flags, clip skip, random
state) and puts it back on every way out. Forge's modules are imported inside functions, so that this file can be
imported without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...engine.errors import SettingError
from ...engine.host import Cond, Kept, Vectors
from ..activations import Empty, kept_for_backward, ldm_inputs
from ..checkpointing import checkpointed
from ..conditioning import chosen, zeroed
from ..first_stage import FirstStage
from ..frozen import frozen
from ..put_back import own_forwards, random_state
from ..webuis.host import FACTOR, INIT_TOKENS, LoadedModelHost
from ..webuis.moved_weights import load_on_device, ordinary_tensors
from ..webuis.words import found_first
from .model import (
    check_trainable,
    input_channels,
    is_sdxl,
    load_chosen,
    picture_size,
    schedule_of,
    settings_text,
    text_engines,
)
from .session import differentiable_blocks, plain_text, without_inference_mode
from .text import encoded, live_embedding, size_vector, vocabulary


class ForgeHost(LoadedModelHost):
    """See `engine.host.DiffusionHost`. Order of a joined batch: [uncond, cond].

    Make one while holding the WebUI's queue lock; raises ModelError for a checkpoint that cannot be trained. `webui` is
    the name by which the user knows the fork.
    """

    def __init__(self, webui: str = "Forge") -> None:
        self.model = load_chosen(webui)
        check_trainable(self.model, webui)
        parts = self.model.forge_objects_original  # without what the last picture made of them
        self._patchers = (parts.unet, parts.clip.patcher, parts.vae.patcher)
        self._kmodel = parts.unet.model
        self._unet: Any = self._kmodel.diffusion_model
        self._modules: tuple[nn.Module, ...] = tuple(patcher.model for patcher in self._patchers)
        self._engines = text_engines(self.model)
        self.device = parts.unet.load_device
        self.schedule = schedule_of(self.model, self.device)
        self.remark = ""
        vae = parts.vae.first_stage_model
        self._first_stage = FirstStage(vae, vae.scaling_factor, parts.vae.device, self.name, vae.shift_factor)
        self._kind: torch.dtype = self._kmodel.computation_dtype
        self._describe(webui, picture_size(self.model), input_channels(self.model), self._kind)

    def identity(self) -> str:
        """Device, precision, checkpoint, VAE and clip skip: with another of these a training is another one."""
        from modules import sd_models, shared

        info = self.model.sd_checkpoint_info
        more = sd_models.model_data.forge_loading_parameters.get("additional_modules") or None
        return (
            f"{self.device.type} {self._kind} {info.sha256 or info.name} with {more} "
            f"skip {shared.opts.CLIP_stop_at_last_layers}{settings_text(self.model)}"
        )

    def is_loaded(self) -> bool:
        """Whether Forge still has this model, and in a session where it computes: "unload" moves it without asking."""
        from modules import sd_models

        is_away = self._in_session and next(self._unet.parameters()).device.type != self.device.type
        return sd_models.model_data.sd_model is self.model and not is_away

    @contextmanager
    def session(self) -> Iterator[None]:
        """Frozen, on one device, of ordinary tensors, with blocks that can be differentiated and nothing that an
        earlier picture left."""
        from backend import memory_management

        self.check_loaded()
        load_on_device(memory_management, self._patchers, self.name, self._webui)
        first_stage = self._patchers[-1].model
        with ExitStack() as stack:
            for entered in (
                random_state(),
                ordinary_tensors(self._modules, self._kind),
                own_forwards(*self._modules),
                without_inference_mode(first_stage),
                differentiable_blocks(),
                frozen(self._modules),
                plain_text(list(self._engines.values())),
            ):
                stack.enter_context(entered)
            self._in_session = True
            try:
                yield
            finally:
                self._in_session = False

    def kept_for_backward(self, batch: int, height: int, width: int) -> Kept:
        states = sum(vocabulary(engine).shape[1] for engine in self._engines.values())

        def inputs(empty: Empty) -> dict[str, Any]:
            return {**ldm_inputs(self._unet, states, height, width, empty), "transformer_options": {}}

        with own_forwards(self._unet), differentiable_blocks():
            return kept_for_backward(self._unet, self._kind, batch, inputs)

    def less_memory(self) -> AbstractContextManager[None]:
        """Inside, the U-Net's blocks are computed a second time in the backward pass instead of being kept."""
        return checkpointed(self._unet)

    @torch.no_grad()
    def encode_posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.check_loaded()
        mean, deviation = self._first_stage.distribution(pixels)
        return mean.to(self.device), deviation.to(self.device)

    @torch.no_grad()
    def attention_features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.check_loaded()
        queries, keys = self._first_stage.attention_inputs(pixels)
        return queries.to(self.device), keys.to(self.device)

    def decode_latents(self, latents: Tensor) -> Tensor:
        return self._first_stage.decoded(latents).to(self.device)

    def predict(self, noisy_latents: Tensor, timesteps: Tensor, cond: Cond, context: Tensor | None = None) -> Tensor:
        """By the U-Net itself: Forge's own way to it takes sigmas, and gives pictures without noise."""
        self.check_loaded()
        more = {}
        if isinstance(cond, dict):
            size = size_vector(self.model, *(FACTOR * side for side in noisy_latents.shape[2:]))
            sizes = size.to(cond["vector"]).expand(len(cond["vector"]), -1)
            more["y"] = torch.cat([cond["vector"], sizes], dim=1).to(self._kind)
        if self._is_inpainting:
            noisy_latents = torch.cat([noisy_latents, self._context.given(noisy_latents, context)], dim=1)
        states = cond["crossattn"] if isinstance(cond, dict) else cond
        given = {"context": states.to(self._kind), "transformer_options": {}, **more}
        return self._unet(noisy_latents.to(self._kind), timesteps, **given).float()

    def encode_prompts(self, prompts: Sequence[str]) -> Cond:
        """Hidden states (B, 77 n, width), n the chunks of the longest prompt; SDXL: a dict with the pooled vector of
        the first chunk too. Equal prompts are encoded once."""
        self.check_loaded()
        unique = list(dict.fromkeys(prompts))
        with ExitStack() as stack:
            for engine in self._engines.values():
                stack.enter_context(found_first(engine.embeddings, engine.tokenize, self._live))
            cond = encoded(self._engines, unique)
        cond = {key: v.to(self.device) for key, v in cond.items()} if isinstance(cond, dict) else cond.to(self.device)
        return chosen(cond, [unique.index(prompt) for prompt in prompts])

    def encode_negatives(self, prompts: Sequence[str]) -> Cond:
        """`encode_prompts` for the unconditional branch; an empty prompt is all zeros in SDXL."""
        cond = self.encode_prompts(prompts)
        return zeroed(cond, [not prompt for prompt in prompts]) if self._zeroes_empty() else cond

    def _zeroes_empty(self) -> bool:
        """Neo leaves it to a setting."""
        from modules import shared

        return is_sdxl(self.model) and bool(getattr(shared.opts, "sdxl_zero_neg", True))

    @torch.no_grad()
    def initial_vectors(self, text: str, count: int) -> Vectors:
        """Vector i of `count` is row floor(i * rows / count) of the text's, as in the WebUI."""
        vectors = {}
        for key, engine in self._engines.items():
            ids = engine.tokenize([text])[0][:INIT_TOKENS]
            if not ids:
                raise SettingError("initialization_text must hold at least one word; * is a neutral one.")
            table = vocabulary(engine)
            spread = [ids[i * len(ids) // count] for i in range(count)]
            vectors[key] = table[torch.tensor(spread, device=table.device)].float().to(self.device).clone()
        return vectors

    @torch.no_grad()
    def mean_norms(self) -> dict[str, float]:
        return {key: float(vocabulary(engine).float().norm(dim=1).mean()) for key, engine in self._engines.items()}

    @contextmanager
    def bind(self, embeddings: Mapping[str, Vectors]) -> Iterator[None]:
        """Forge's own look-up finds the names; its databases stay as they are."""
        outer = self._live
        self._live = {**outer, **{name: live_embedding(name, vectors) for name, vectors in embeddings.items()}}
        try:
            yield
        finally:
            self._live = outer
