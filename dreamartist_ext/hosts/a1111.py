"""The engine's host inside AUTOMATIC1111: the very model that the WebUI has loaded.

Nothing is replaced for good: a session records what it touches (flags, attention, memory hooks, networks in use,
random state) and puts it back on every way out. The WebUI's modules are imported inside functions, so that this file
can be imported without it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..engine.errors import ModelError, SettingError
from ..engine.host import Vectors
from ..engine.noise import NoiseSchedule, PredictionType
from .frozen import frozen

ENCODER = "clip"  # the one text encoder of SD 1 and SD 2
INIT_TOKENS = 75  # of an initialization text: one chunk


class WebUIHost:
    """See `engine.host.DiffusionHost`. Order of a joined batch: [uncond, cond].

    Make one while holding the WebUI's queue lock; raises ModelError for a checkpoint that cannot be trained.
    """

    def __init__(self) -> None:
        from modules import devices, sd_models

        self.model: Any = sd_models.model_data.get_sd_model()
        if self.model is None:
            raise ModelError("no checkpoint is loaded; choose one at the top of the page first.")
        check_trainable(self.model)
        self.device = devices.device
        abar = getattr(self.model, "alphas_cumprod_original", self.model.alphas_cumprod)
        kind = PredictionType.V if self.model.parameterization == "v" else PredictionType.EPSILON
        self.schedule = NoiseSchedule(abar.float().to(self.device), kind)
        self.size_unit = 64  # pixels: the U-Net halves its latents three times
        self.picture_size = 8 * int(getattr(self.model, "image_size", 64))
        # Half precision loses small gradients; the trainer multiplies its loss by this, and divides what comes back.
        self.loss_scale = 2.0**12 if devices.dtype_unet == torch.float16 else 1.0
        self._live: dict[str, Any] = {}
        self._in_session = False

    @property
    def name(self) -> str:
        """The checkpoint's name, without its folder or ending."""
        return str(self.model.sd_checkpoint_info.name_for_extra)

    def identity(self) -> str:
        """Device, precision, checkpoint, VAE and clip skip: with another of these a training is another one."""
        from modules import devices, sd_vae, shared

        info = self.model.sd_checkpoint_info
        return (
            f"{self.device.type} {devices.dtype_unet} {info.sha256 or info.name} vae {sd_vae.get_loaded_vae_name()} "
            f"skip {shared.opts.CLIP_stop_at_last_layers}"
        )

    def is_loaded(self) -> bool:
        """Whether the WebUI still has this model, and where it computes: "unload" moves it without asking."""
        from modules import sd_models

        unet = next(self.model.model.parameters(), None)
        is_here = unet is None or unet.device.type == self.device.type or self._is_shared_out()
        return sd_models.model_data.sd_model is self.model and is_here

    def _is_shared_out(self) -> bool:
        """With --medvram and --lowvram a part that waits is on the CPU."""
        from modules import lowvram

        return not self._in_session and bool(lowvram.is_enabled(self.model))

    def check_loaded(self) -> None:
        """Raises ModelError when somebody took the model away."""
        if not self.is_loaded():
            raise ModelError("the checkpoint was unloaded or changed during the training; load it again and continue.")

    @contextmanager
    def session(self) -> Iterator[None]:
        """Frozen, on one device, with attention that can be differentiated and no network from an earlier prompt."""
        self.check_loaded()
        with ExitStack() as stack:
            for entered in (
                random_state(),
                one_device(self.model),
                no_networks(),
                differentiable_attention(),
                frozen([self.model]),
            ):
                stack.enter_context(entered)
            self._in_session = True
            try:
                yield
            finally:
                self._in_session = False

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> Tensor:
        from modules import devices

        self.check_loaded()
        with devices.autocast(disable=devices.dtype_vae == torch.float32):
            posterior = self.model.first_stage_model.encode(pixels.to(self.device, devices.dtype_vae))
        return posterior.mode().float() * self.model.scale_factor

    @torch.no_grad()
    def encode_posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        from modules import devices

        self.check_loaded()
        with devices.autocast(disable=devices.dtype_vae == torch.float32):
            posterior = self.model.first_stage_model.encode(pixels.to(self.device, devices.dtype_vae))
        return posterior.mean.float() * self.model.scale_factor, posterior.std.float() * self.model.scale_factor

    @torch.no_grad()
    def attention_features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        from modules import devices

        self.check_loaded()
        block, found = self.model.first_stage_model.encoder.mid.attn_1, []
        hook = block.register_forward_pre_hook(lambda _module, inputs: found.append(inputs[0]))
        try:
            with devices.autocast(disable=devices.dtype_vae == torch.float32):
                self.model.first_stage_model.encode(pixels.to(self.device, devices.dtype_vae))
                hidden = block.norm(found[0])
                queries, keys = (part.flatten(2).transpose(1, 2).float() for part in (block.q(hidden), block.k(hidden)))
        finally:
            hook.remove()
        return queries, keys

    def decode_latents(self, latents: Tensor) -> Tensor:
        from modules import devices

        with devices.autocast(disable=devices.dtype_vae == torch.float32):
            return self.model.first_stage_model.decode(
                (latents / self.model.scale_factor).to(devices.dtype_vae)
            ).float()

    def predict(self, noisy_latents: Tensor, timesteps: Tensor, cond: Tensor) -> Tensor:
        from modules import devices

        self.check_loaded()
        with devices.autocast():
            prediction = self.model.apply_model(
                noisy_latents.to(devices.dtype_unet), timesteps, {"c_crossattn": [cond.to(devices.dtype_unet)]}
            )
        return prediction.float()

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """(B, 77 n, width), n the chunks of the longest prompt; equal prompts are encoded once.

        Another thread may read the embeddings folder again at any moment: the live vectors are found all the same.
        """
        from modules import devices

        self.check_loaded()
        self._register_again()
        unique = list(dict.fromkeys(prompts))
        with devices.autocast(), plain_emphasis(), found_first(self.model, self._live):
            cond = self.model.cond_stage_model(unique)
        return cond[[unique.index(prompt) for prompt in prompts]]

    def join(self, uncond: Tensor, cond: Tensor) -> Tensor:
        """The shorter side is filled with empty chunks, as the WebUI's "pad prompt" does."""
        missing = (cond.shape[1] - uncond.shape[1]) // 77
        if missing:
            empty = self.encode_prompts([""])
            if missing > 0:
                uncond = torch.cat([uncond, empty.repeat(len(uncond), missing, 1)], dim=1)
            else:
                cond = torch.cat([cond, empty.repeat(len(cond), -missing, 1)], dim=1)
        return torch.cat([uncond, cond])

    @torch.no_grad()
    def initial_vectors(self, text: str, count: int) -> Vectors:
        """Vector i of `count` is row floor(i * rows / count) of the text's, as in the WebUI."""
        rows = self.model.cond_stage_model.encode_embedding_init_text(text, INIT_TOKENS)
        if not text.strip() or rows.dim() != 2 or not len(rows):
            raise SettingError("initialization_text must hold at least one word; * is a neutral one.")
        return {ENCODER: rows[[i * len(rows) // count for i in range(count)]].float().to(self.device).clone()}

    @torch.no_grad()
    def mean_norms(self) -> dict[str, float]:
        return {ENCODER: float(vocabulary(self.model.cond_stage_model).weight.float().norm(dim=1).mean())}

    def bind(self, embeddings: Mapping[str, Vectors]) -> AbstractContextManager[None]:
        """The names are found by the WebUI's own look-up, in its own database; what was there before comes back."""
        return self._bound({name: live_embedding(name, vectors[ENCODER]) for name, vectors in embeddings.items()})

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


@contextmanager
def found_first(model: Any, live: Mapping[str, Any]) -> Iterator[None]:
    """Inside, prompts find these embeddings though the WebUI's database is being filled again; longest first."""
    database = embedding_database()
    instead = vars(database).get("find_embedding_at_position")
    before = database.find_embedding_at_position
    own = [(model.cond_stage_model.tokenize([name])[0], embedding) for name, embedding in live.items()]
    own.sort(key=lambda item: len(item[0]), reverse=True)

    def find(tokens: list[int], offset: int) -> tuple[Any, int | None]:
        other, length = before(tokens, offset)
        for ids, embedding in own:
            if tokens[offset : offset + len(ids)] == ids and len(ids) >= (length or 0):
                return embedding, len(ids)
        return other, length

    database.find_embedding_at_position = find
    try:
        yield
    finally:
        del database.find_embedding_at_position
        if instead is not None:  # another extension's
            database.find_embedding_at_position = instead


def check_trainable(model: Any) -> None:
    """Raises ModelError, in one sentence, for what is not a plain Stable Diffusion 1 or 2."""
    if getattr(model, "is_sd3", False):
        raise ModelError("Stable Diffusion 3 cannot be trained here: it is no U-Net.")
    if hasattr(model, "conditioner"):
        raise ModelError("SDXL checkpoints cannot be trained yet; choose a Stable Diffusion 1 or 2 checkpoint.")
    if getattr(model, "cond_stage_key", "") == "edit":
        raise ModelError("instruct-pix2pix checkpoints cannot be trained; choose a Stable Diffusion 1 or 2 checkpoint.")
    if getattr(getattr(model, "model", None), "conditioning_key", "crossattn") != "crossattn":
        raise ModelError("inpainting and depth checkpoints cannot be trained yet; choose the plain one.")
    if not hasattr(model, "apply_model") or getattr(model, "parameterization", "") not in ("eps", "v"):
        raise ModelError("this kind of checkpoint cannot be trained; choose a Stable Diffusion 1 or 2 checkpoint.")


def embedding_database() -> Any:
    from modules import sd_hijack

    return sd_hijack.model_hijack.embedding_db


def live_embedding(name: str, vectors: Tensor) -> Any:
    """vectors (n, width), in training -> what the WebUI's database holds"""
    from modules.textual_inversion.textual_inversion import Embedding

    embedding = Embedding(vectors, name)
    embedding.vectors, embedding.shape = vectors.shape
    return embedding


def vocabulary(encoder: nn.Module) -> nn.Embedding:
    """The token vectors: wrapped by the WebUI, at a place of its own in each family; positions are far fewer."""
    return max((m for m in encoder.modules() if isinstance(m, nn.Embedding)), key=lambda m: m.num_embeddings)


def forget_cached_conditionings() -> None:
    """The WebUI's caches know prompts by their text, not by what their embeddings hold."""
    from modules import processing

    kinds = (processing.StableDiffusionProcessing, processing.StableDiffusionProcessingTxt2Img)
    for kind in kinds:
        for cache in ("cached_c", "cached_uc", "cached_hr_c", "cached_hr_uc"):
            if hasattr(kind, cache):
                setattr(kind, cache, [None, None])


def reload_embeddings() -> None:
    """Let the WebUI see the files that are in its embeddings folder now; needs a loaded checkpoint."""
    embedding_database().load_textual_inversion_embeddings(force_reload=True)
    forget_cached_conditionings()


@contextmanager
def random_state() -> Iterator[None]:
    """Whatever draws a random number inside does not change what comes after."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def plain_emphasis() -> Iterator[None]:
    """Weights of 1 need no renormalising, whose rounding would otherwise reach the gradient."""
    from modules import sd_emphasis

    before = sd_emphasis.get_current_option
    sd_emphasis.get_current_option = lambda _name: sd_emphasis.EmphasisOriginalNoNorm
    try:
        yield
    finally:
        sd_emphasis.get_current_option = before


@contextmanager
def no_networks() -> Iterator[None]:
    """LoRAs and hypernetworks of the last picture are still in use until the next one: not in a training."""
    from modules import shared

    lora = getattr(sys.modules.get("networks"), "loaded_networks", None)  # of the WebUI's own Lora extension
    lists = [names for names in (lora, getattr(shared, "loaded_hypernetworks", None)) if isinstance(names, list)]
    before = [list(names) for names in lists]
    try:
        for names in lists:
            names.clear()
        yield
    finally:
        for names, content in zip(lists, before, strict=True):
            names[:] = content


@contextmanager
def differentiable_attention() -> Iterator[None]:
    """Torch's fused attention: little memory and a backward pass; some of the WebUI's choices work in place."""
    import ldm.modules.attention
    from modules import sd_hijack_optimizations

    kind = ldm.modules.attention.CrossAttention
    before = kind.forward
    if hasattr(nn.functional, "scaled_dot_product_attention"):
        kind.forward = sd_hijack_optimizations.scaled_dot_product_attention_forward
    try:
        yield
    finally:
        kind.forward = before


@contextmanager
def one_device(model: Any) -> Iterator[None]:
    """With --medvram and --lowvram parts take turns on the GPU, moved by hooks; a backward pass needs them together."""
    from modules import devices, lowvram

    if not lowvram.is_enabled(model):
        yield
        return
    lowvram.send_everything_to_cpu()
    hooks = [
        (module, key, hook)
        for module in model.modules()
        for key, hook in module._forward_pre_hooks.items()
        if _name(hook) == "send_me_to_gpu"
    ]
    order = {id(module): list(module._forward_pre_hooks.items()) for module, _, _ in hooks}
    places = placements(model)
    try:
        for module, key, _ in hooks:
            module._forward_pre_hooks.pop(key, None)
        for part in (model.cond_stage_model, model.model):
            part.to(devices.device)
        yield
    finally:
        lowvram.send_everything_to_cpu()
        put_back(places)
        for module, _, _ in hooks:
            module._forward_pre_hooks.clear()
            module._forward_pre_hooks.update(order[id(module)])


def placements(model: nn.Module) -> list[tuple[dict[str, Any], str, torch.device]]:
    """Where every parameter and buffer is; some parts stay on the GPU for good, without a hook."""
    stores = [store for module in model.modules() for store in (module._parameters, module._buffers)]
    return [(store, key, held.device) for store in stores for key, held in store.items() if held is not None]


def put_back(places: Sequence[tuple[dict[str, Any], str, torch.device]]) -> None:
    for store, key, device in places:
        held = store[key]
        if held.device == device:
            continue
        if isinstance(held, nn.Parameter):
            held.data = held.data.to(device)
        else:
            store[key] = held.to(device)


def _name(function: Callable) -> str:
    return getattr(function, "__name__", "")
