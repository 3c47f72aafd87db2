"""The text encoders of the Stable Diffusion families, with learned vectors in the places of their words.

Which layer is read, and with which token a chunk is padded, is what the WebUI's own encoders do (v1.10.1:
`sd_hijack_clip.py`, `sd_hijack_open_clip.py`; `encoders/modules.py` of ldm and sgm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ...engine.errors import SettingError
from ...engine.host import Vectors
from ...engine.transfer import to_device
from ..conditioning import chosen
from .prompt_tokens import Chunk, padded

PENULTIMATE = 2


@dataclass(frozen=True)
class Layer:
    """Which hidden states condition the U-Net: `from_end` 1 is the last layer's, 2 the one before it."""

    from_end: int
    normalised: bool


@dataclass(frozen=True)
class TextEncoder:
    """One encoder with its tokenizer; `key` names its half of the learned vectors."""

    key: str
    model: CLIPTextModel | CLIPTextModelWithProjection
    tokenizer: CLIPTokenizer
    layer: Layer
    pooled: bool = False

    @property
    def width(self) -> int:
        return int(self.model.config.hidden_size)

    def token_ids(self, text: str) -> list[int]:
        """Token ids without start and end."""
        return self.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids

    def initial_rows(self, text: str, count: int) -> Tensor:
        """Row i of `count` is row floor(i * rows / count) of the text's, as in the WebUI: (count, width), fp32."""
        ids = self.token_ids(text)
        if not ids:
            raise SettingError("initialization_text must hold at least one word; * is a neutral one.")
        table = self._token_embedding().weight.detach()
        rows = table[torch.tensor(ids, device=table.device)]
        return rows[[i * len(rows) // count for i in range(count)]].float().clone()

    def encode(self, chunks: Sequence[Chunk], bound: Mapping[str, Vectors]) -> tuple[Tensor, Tensor | None]:
        """Hidden states (B, 77, width) of B chunks and, of a pooling encoder, their pooled vectors (B, projection).

        Equal chunks are encoded once.
        """
        keys = [(tuple(chunk.ids), tuple(chunk.places)) for chunk in chunks]
        different = dict(zip(keys, chunks, strict=True))
        hidden, pooled = self._encode(list(different.values()), bound)
        order = list(different)
        rows = [order.index(key) for key in keys]
        return chosen(hidden, rows), None if pooled is None else chosen(pooled, rows)

    def _encode(self, chunks: Sequence[Chunk], bound: Mapping[str, Vectors]) -> tuple[Tensor, Tensor | None]:
        start, end, pad = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
        rows_of_ids = torch.tensor([padded(chunk, start, end, pad) for chunk in chunks])
        ids = to_device(rows_of_ids, self.model.device)

        def put_vectors(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            rows = zip(output, chunks, strict=True)
            return torch.stack([with_vectors(row, chunk, bound, self.key) for row, chunk in rows])

        hook = self._token_embedding().register_forward_hook(put_vectors)
        try:
            is_last = self.layer == Layer(1, True)
            output = self.model(ids, output_hidden_states=not is_last)
        finally:
            hook.remove()
        return self._hidden(output, is_last), output.text_embeds if self.pooled else None

    def _hidden(self, output: Any, is_last: bool) -> Tensor:
        if is_last:
            return output.last_hidden_state
        hidden = output.hidden_states[-self.layer.from_end]
        body = getattr(self.model, "text_model", self.model)  # newer versions of the library have no such level
        return body.final_layer_norm(hidden) if self.layer.normalised else hidden

    def mean_norm(self) -> float:
        """The mean length of the vocabulary's token vectors."""
        return float(self._token_embedding().weight.detach().float().norm(dim=1).mean())

    def _token_embedding(self) -> nn.Embedding:
        return self.model.get_input_embeddings()


def with_vectors(row: Tensor, chunk: Chunk, bound: Mapping[str, Vectors], key: str) -> Tensor:
    """row (77, width) of one chunk, with its embeddings' vectors in their places"""
    pieces, done = [], 0
    for offset, name in chunk.places:
        vectors = bound[name][key].to(row)
        pieces += [row[done : offset + 1], vectors]  # + 1 for the start token
        done = offset + 1 + len(vectors)
    return torch.cat([*pieces, row[done:]])
