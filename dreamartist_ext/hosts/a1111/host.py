"""The engine's host inside AUTOMATIC1111: the very model that the WebUI has loaded.

Nothing is replaced for good: a session records what it touches (flags, attention, memory hooks, networks in use,
random state) and puts it back on every way out. The WebUI's modules are imported inside functions, so that this file
can be imported without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...engine.errors import ModelError, SettingError
from ...engine.host import Cond, Kept, Vectors
from ..activations import kept_for_backward, ldm_inputs
from ..checkpointing import checkpointed
from ..conditioning import chosen, zeroed
from ..first_stage import FirstStage
from ..frozen import frozen
from ..put_back import own_forwards, random_state
from ..webuis.host import FACTOR, INIT_TOKENS, LoadedModelHost
from ..webuis.words import found_first
from .embeddings import embedding_database, live_embedding
from .families import (
    check_trainable,
    check_unet,
    encoded,
    input_channels,
    is_sdxl,
    model_input,
    picture_size,
    settings_text,
    text_encoders,
    vocabulary,
)
from .schedule import check_file, is_marked, schedule_of, schedule_remark
from .session import (
    differentiable_attention,
    no_networks,
    no_tiling,
    one_device,
    plain_emphasis,
    together,
    unpacked,
)


class WebUIHost(LoadedModelHost):
    """See `engine.host.DiffusionHost`. Order of a joined batch: [uncond, cond].

    Make one while holding the WebUI's queue lock; raises ModelError for a checkpoint that cannot be trained. `webui` is
    the name by which the user knows it, or its fork.
    """

    def __init__(self, webui: str = "AUTOMATIC1111") -> None:
        from modules import devices, sd_models

        self.model: Any = sd_models.model_data.get_sd_model()
        if self.model is None:
            raise ModelError("no checkpoint is loaded; choose one at the top of the page first.")
        check_trainable(self.model)
        check_unet()
        self._file = Path(self.model.sd_checkpoint_info.filename)
        check_file(self._file, self.model)
        self.device = devices.device
        self.schedule = schedule_of(self.model, self.device, self._file)
        self.remark = schedule_remark(self.model, self._file)
        self._first_stage = FirstStage(
            self.model.first_stage_model, self.model.scale_factor, self.device, self.name, autocast=_webuis_autocast
        )
        self._describe(webui, picture_size(self.model), input_channels(self.model), devices.dtype_unet)

    def identity(self) -> str:
        """Device, precision, checkpoint, VAE and clip skip: with another of these a training is another one."""
        from modules import devices, sd_vae, shared

        info = self.model.sd_checkpoint_info
        marked = " ztsnr" if is_marked(self._file) else ""
        return (
            f"{self.device.type} {devices.dtype_unet} {info.sha256 or info.name} vae {sd_vae.get_loaded_vae_name()} "
            f"skip {shared.opts.CLIP_stop_at_last_layers}{settings_text(self.model)}{marked}"
        )

    def is_loaded(self) -> bool:
        """Whether the WebUI still has this model, and where it computes: "unload" moves it without asking."""
        from modules import sd_models

        unet = next(self.model.model.parameters(), None)
        is_here = unet is None or unet.device.type == self.device.type or self._is_shared_out()
        return sd_models.model_data.sd_model is self.model and is_here

    def _is_shared_out(self) -> bool:
        """With --medvram and --lowvram a part that waits is on the CPU, and in reForge every part."""
        from modules import lowvram

        is_moved = hasattr(self.model, "forge_objects_original") or lowvram.is_enabled(self.model)
        return not self._in_session and bool(is_moved)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Frozen, on one device, with attention that can be differentiated and nothing that an earlier picture left."""
        self.check_loaded()
        with ExitStack() as stack:
            for entered in (
                random_state(),
                together(self.model, self.name, self._webui),
                one_device(self.model),
                unpacked(self.model),
                no_networks(),
                no_tiling(),
                own_forwards(self.model.model.diffusion_model, self.model.first_stage_model),
                differentiable_attention(),
                frozen([self.model]),
            ):
                stack.enter_context(entered)
            self._in_session = True
            try:
                yield
            finally:
                self._in_session = False

    def kept_for_backward(self, batch: int, height: int, width: int) -> Kept:
        from modules import devices

        unet = self.model.model.diffusion_model
        states = sum(vectors.shape[1] for vectors in self.initial_vectors("*", 1).values())
        inputs = partial(ldm_inputs, unet, states, height, width)
        context = self._autocast()
        is_cast_by_cuda = isinstance(context, torch.autocast) and context.device == "cuda"
        with own_forwards(unet), differentiable_attention():
            return kept_for_backward(unet, devices.dtype_unet, batch, inputs, is_cast_by_cuda)

    def less_memory(self) -> AbstractContextManager[None]:
        """Inside, the U-Net's blocks are computed a second time in the backward pass instead of being kept."""
        return checkpointed(self.model.model.diffusion_model)

    def _autocast(self) -> AbstractContextManager[Any]:
        """The WebUI's own, but for bf16, which it takes on a CPU for weights in 8 bits and OpenCLIP's encoder fails in:
        inside a session they have 32."""
        from modules import devices

        context = devices.autocast()
        is_needless = self._in_session and devices.dtype == torch.float32
        is_on_cpu = isinstance(context, torch.autocast) and context.device == "cpu"
        return nullcontext() if is_needless and is_on_cpu else context

    @torch.no_grad()
    def encode_posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.check_loaded()
        return self._first_stage.distribution(pixels)

    @torch.no_grad()
    def attention_features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.check_loaded()
        return self._first_stage.attention_inputs(pixels)

    def decode_latents(self, latents: Tensor) -> Tensor:
        return self._first_stage.decoded(latents)

    def predict(self, noisy_latents: Tensor, timesteps: Tensor, cond: Cond, context: Tensor | None = None) -> Tensor:
        from modules import devices

        self.check_loaded()
        size = FACTOR * noisy_latents.shape[2], FACTOR * noisy_latents.shape[3]
        context = self._context.given(noisy_latents, context) if self._is_inpainting else None
        with self._autocast():
            given = model_input(self.model, cond, size, context, devices.dtype_unet)
            prediction = self.model.apply_model(noisy_latents.to(devices.dtype_unet), timesteps, given)
        return prediction.float()

    def encode_prompts(self, prompts: Sequence[str]) -> Cond:
        """Hidden states (B, 77 n, width), n the chunks of the longest prompt; SDXL: a dict with the pooled vector of
        the first chunk too. Equal prompts are encoded once.

        Another thread may read the embeddings folder again at any moment: the live vectors are found all the same.
        """
        self.check_loaded()
        self._register_again()
        unique = list(dict.fromkeys(prompts))
        with self._autocast(), plain_emphasis(), self._found_first():
            cond = encoded(self.model, unique)
        return chosen(cond, [unique.index(prompt) for prompt in prompts])

    def _found_first(self) -> AbstractContextManager[None]:
        return found_first(embedding_database(), self.model.cond_stage_model.tokenize, self._live)

    def encode_negatives(self, prompts: Sequence[str]) -> Cond:
        """`encode_prompts` for the unconditional branch; an empty prompt is all zeros in SDXL."""
        cond = self.encode_prompts(prompts)
        return zeroed(cond, [not prompt for prompt in prompts]) if is_sdxl(self.model) else cond

    @torch.no_grad()
    def initial_vectors(self, text: str, count: int) -> Vectors:
        """Vector i of `count` is row floor(i * rows / count) of the text's, as in the WebUI."""
        vectors = {}
        for key, encoder in text_encoders(self.model).items():
            rows = encoder.encode_embedding_init_text(text, INIT_TOKENS) if text.strip() else torch.empty(0)
            if rows.dim() != 2 or not len(rows):
                raise SettingError("initialization_text must hold at least one word; * is a neutral one.")
            spread = rows[[i * len(rows) // count for i in range(count)]]
            vectors[key] = spread.float().to(self.device).clone()
        return vectors

    @torch.no_grad()
    def mean_norms(self) -> dict[str, float]:
        encoders = text_encoders(self.model).items()
        return {key: float(vocabulary(encoder).weight.float().norm(dim=1).mean()) for key, encoder in encoders}

    def bind(self, embeddings: Mapping[str, Vectors]) -> AbstractContextManager[None]:
        """The names are found by the WebUI's own look-up, in its own database; what was there before comes back."""
        return self._bound({name: live_embedding(name, vectors) for name, vectors in embeddings.items()})

    @contextmanager
    def _bound(self, live: dict[str, Any]) -> Iterator[None]:
        database, outer = embedding_database(), self._live
        lower = {name.lower() for name in live}
        same = {name: found for name, found in database.word_embeddings.items() if name.lower() in lower}
        before = {**dict.fromkeys(live), **same}
        try:
            for name in same:  # prompts know no case: an older one would be found instead
                database.register_embedding_by_name(None, self.model, name)
            self._live = {**outer, **live}
            self._register_again()
            yield
        finally:
            self._live = outer
            for name, embedding in before.items():
                # Someone may have created or reloaded an embedding of this name meanwhile: theirs stays.
                if database.word_embeddings.get(name) is live.get(name):
                    database.register_embedding_by_name(embedding, self.model, name)
            self._register_again()

    def _register_again(self) -> None:
        """The WebUI forgets what it did not read from a file whenever it reads its folder again."""
        database = embedding_database()
        for name, embedding in self._live.items():
            if database.word_embeddings.get(name) is not embedding:
                with suppress(KeyError):  # of a look-up that another thread has just emptied
                    database.register_embedding_by_name(embedding, self.model, name)


def _webuis_autocast(disable: bool) -> AbstractContextManager[Any]:
    from modules import devices

    return devices.autocast(disable=disable)
