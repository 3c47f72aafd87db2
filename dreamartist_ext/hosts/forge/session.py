"""What a session changes in Forge, each as a context manager that puts it back on every way out.

Forge's modules are imported inside functions, so that this file can be imported without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..put_back import attributes


@contextmanager
def differentiable_blocks() -> Iterator[None]:
    """Inside, the gradient can pass through Forge's transformer blocks.

    Forge's blocks add in place, which overwrites what the backward pass needs, and some of its attention functions have
    no backward pass. Inside this context, blocks add out of place, and attention is PyTorch's.
    """
    from backend import attention
    from backend.nn import unet, vae

    spatial = getattr(attention, "pytorch_attention_single_head_spatial", None) or attention.pytorch_attention_vae
    changes = (
        (unet.BasicTransformerBlock, "forward", _added_out_of_place),
        (unet, "attention_function", attention.attention_pytorch),
        (vae, "attention_function_single_head_spatial", spatial),
    )
    with attributes(changes):
        yield


def _added_out_of_place(
    block: Any, x: Tensor, context: Tensor | None = None, transformer_options: Mapping[str, Any] | None = None
) -> Tensor:
    """A transformer block as in the paper; nothing is patched into it, since the options are our own."""
    x = x + block.attn1(block.norm1(x), context=context if block.disable_self_attn else None)
    x = x + block.attn2(block.norm2(x), context=context)
    return x + block.ff(block.norm3(x))


@contextmanager
def without_inference_mode(*parts: nn.Module) -> Iterator[None]:
    """Neo's VAE computes in inference mode by decorators on its classes: inside, by what they decorate."""
    modules = [m for part in parts for m in part.modules() if hasattr(type(m).forward, "__wrapped__")]
    try:
        for module in modules:
            module.forward = type(module).forward.__wrapped__.__get__(module)  # type: ignore[attr-defined]
        yield
    finally:
        for module in modules:
            vars(module).pop("forward", None)


@contextmanager
def plain_text(engines: Sequence[Any]) -> Iterator[None]:
    """As for the next picture, which sets these itself: the user's clip skip, and weights without renormalising, whose
    rounding would reach the gradient. Neo's engines ask for the kind of weights whenever they need it; Forge's keep it.
    """
    from backend.text_processing import emphasis
    from modules import shared

    kind = emphasis.EmphasisNone if shared.opts.emphasis == "None" else emphasis.EmphasisOriginalNoNorm
    skip = int(shared.opts.CLIP_stop_at_last_layers)
    changes: list[tuple[Any, str, Any]] = [(emphasis, "get_current_option", lambda _name: kind)]
    changes += [(engine, "clip_skip", skip) for engine in engines]
    changes += [(engine, "emphasis", kind()) for engine in engines if "emphasis" in vars(engine)]
    with attributes(changes):
        yield
