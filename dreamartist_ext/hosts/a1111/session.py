"""What a session changes in AUTOMATIC1111, each as a context manager that puts it back on every way out.

The WebUI's modules are imported inside functions, so that this file can be imported without it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..put_back import EIGHT_BITS, attributes
from ..webuis.moved_weights import load_on_device, ordinary_tensors


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
def no_tiling() -> Iterator[None]:
    """A picture with "Tiling" leaves every convolution circular until the next picture: not in a training."""
    from modules.sd_hijack import model_hijack

    before = model_hijack.circular_enabled
    model_hijack.apply_circular(False)
    try:
        yield
    finally:
        model_hijack.apply_circular(before)


@contextmanager
def differentiable_attention() -> Iterator[None]:
    """Torch's fused attention: little memory and a backward pass; some of the WebUI's choices work in place.

    reForge and Forge Classic, whose U-Net is of their `ldm_patched`, leave ldm's and sgm's attention alone.
    """
    import ldm.modules.attention
    import sgm.modules.attention
    from modules import sd_hijack_optimizations

    changes: list[tuple[Any, str, Any]] = []
    fused = getattr(sd_hijack_optimizations, "scaled_dot_product_attention_forward", None)
    if fused is not None and hasattr(nn.functional, "scaled_dot_product_attention"):
        kinds = (ldm.modules.attention.CrossAttention, sgm.modules.attention.CrossAttention)
        changes += [(kind, "forward", fused) for kind in kinds]
    patched: Any = sys.modules.get("ldm_patched.ldm.modules.attention")
    if patched is not None:
        names = ("optimized_attention", "optimized_attention_masked")
        changes += [(patched, name, patched.attention_pytorch) for name in names]
    with attributes(changes):
        yield


@contextmanager
def together(model: Any, name: str, webui: str) -> Iterator[None]:
    """reForge and Forge Classic move weights by their `ldm_patched`, and bake LoRAs into them: inside, all parts are
    where they compute, without the last picture's LoRAs, and stay there while prompts are encoded."""
    parts = getattr(model, "forge_objects_original", None)
    if parts is None:
        yield
        return
    from ldm_patched.modules import model_management
    from modules import devices
    from modules_forge import forge_clip

    load_on_device(model_management, (parts.unet, parts.clip.patcher, parts.vae.patcher), name, webui)
    moves = forge_clip.move_clip_to_gpu
    try:
        forge_clip.move_clip_to_gpu = lambda: None
        with ordinary_tensors([model], devices.dtype_unet):
            yield
    finally:
        forge_clip.move_clip_to_gpu = moves


@contextmanager
def unpacked(model: nn.Module) -> Iterator[None]:
    """Weights that are kept in 8 bits are in the WebUI's computing precision: torch computes no gradient through the
    others, nor do all of its layers. Every value comes back to the bit."""
    from modules import devices

    packed = [parameter for parameter in model.parameters() if parameter.dtype in EIGHT_BITS]
    before = [parameter.dtype for parameter in packed]
    try:
        for parameter in packed:
            parameter.data = parameter.data.to(devices.dtype)
        yield
    finally:
        for parameter, kind in zip(packed, before, strict=True):
            parameter.data = parameter.data.to(kind)


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
