"""The engine's host inside SD.Next: the very parts that the WebUI has loaded, by the standalone host's arithmetic.

Nothing is replaced for good: a session records what it touches (offloading, tensors, attention, flags, random state)
and puts it back on every way out. SD.Next's modules are imported inside functions, so that this file can be imported
without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from ...engine.errors import ModelError
from ...engine.host import Cond, Kept, Vectors
from ..diffusers.host import DiffusersHost
from ..diffusers.prompt_tokens import Chunk
from ..diffusers.text_encoding import TextEncoder
from ..put_back import full_precision, own_forwards, random_state
from ..webuis.moved_weights import ordinary_tensors
from .model import chosen_pipeline, loaded_pipeline, parts_of, plain
from .session import on_device, plain_attention, without_free_u


class SDNextHost(DiffusersHost):
    """See `engine.host.DiffusionHost`. Order of a joined batch: [uncond, cond].

    Make one while holding the WebUI's queue lock; raises ModelError for a checkpoint that cannot be trained.
    """

    def __init__(self) -> None:
        from modules import devices

        self.model = chosen_pipeline()
        parts = parts_of(self.model)
        kind = next(parts.unet.parameters()).dtype
        super().__init__(parts, torch.device(devices.device), kind)
        self._vocabularies, self._more_ids = self._read_vocabularies(), self._ids_of_long_words()

    def _place(self) -> None:
        """The weights stay as SD.Next has them; a session brings them to the device."""

    @property
    def checkpoint_hash(self) -> str:
        """As SD.Next shows it: the first ten digits of the SHA-256 of the checkpoint's file, or nothing."""
        return str(self.model.sd_checkpoint_info.shorthash or "")

    def identity(self) -> str:
        """Device, precision, checkpoint and VAE: with another of these a training is another one."""
        from modules import shared

        info = self.model.sd_checkpoint_info
        return f"{self.device.type} {self.precision} {info.sha256 or info.name} with {shared.opts.sd_vae}"

    def check_loaded(self) -> None:
        """Raises ModelError when somebody took the model away."""
        if plain(getattr(loaded_pipeline(), "unet", None)) is not self.parts.unet:
            raise ModelError("the checkpoint was unloaded or changed during the training; load it again and continue.")

    @contextmanager
    def session(self) -> Iterator[None]:
        """Frozen, on one device, of ordinary tensors, with attention that can be differentiated."""
        self.check_loaded()
        modules = self._modules()
        vae_kind = next(self.parts.vae.parameters()).dtype
        with ExitStack() as stack:
            stack.enter_context(random_state())
            stack.enter_context(on_device(self.model, modules, self.name))
            stack.enter_context(ordinary_tensors(modules, self.precision))
            stack.enter_context(own_forwards(*modules))
            stack.enter_context(plain_attention(self.parts.unet))
            stack.enter_context(without_free_u(self.parts.unet))
            if vae_kind is not torch.float32:
                stack.enter_context(full_precision(self.parts.vae))
            stack.enter_context(super().session())
            yield

    def kept_for_backward(self, batch: int, height: int, width: int) -> Kept:
        with own_forwards(self.parts.unet):  # those that offload it
            return super().kept_for_backward(batch, height, width)

    def predict(self, noisy_latents: Tensor, timesteps: Tensor, cond: Cond, context: Tensor | None = None) -> Tensor:
        self.check_loaded()
        return super().predict(noisy_latents, timesteps, cond, context)

    def encode_negatives(self, prompts: Any) -> Cond:
        """An empty prompt is all zeros in SDXL only where a setting says so."""
        from modules import shared

        zeroes = bool(getattr(shared.opts, "diffusers_zeros_prompt_pad", False))
        return super().encode_negatives(prompts) if zeroes else self.encode_prompts(prompts)

    @torch.no_grad()
    def initial_vectors(self, text: str, count: int) -> Vectors:
        """Vector i of `count` is row floor(i * rows / count) of the text's, as in the WebUI."""
        return {key: rows.to(self.device) for key, rows in super().initial_vectors(text, count).items()}

    def mean_norms(self) -> dict[str, float]:
        """Without the learned words, which SD.Next puts behind the vocabulary."""
        tables = [(each, each.model.get_input_embeddings().weight.detach()) for each in self.encoders]
        own = {each.key: table[: each.tokenizer.vocab_size] for each, table in tables}
        return {key: float(table.float().norm(dim=1).mean()) for key, table in own.items()}

    def _ids_of_long_words(self) -> dict[str, dict[int, list[int]]]:
        """By text encoder: what the first token of a learned word with several vectors stands for."""
        database = getattr(self.model, "embedding_db", None)
        words = [] if database is None else [e.tokens for e in database.word_embeddings.values() if e.tokens]
        found: dict[str, dict[int, list[int]]] = {}
        for encoder in self.encoders:
            rows = [encoder.tokenizer.convert_tokens_to_ids(list(tokens)) for tokens in words]
            found[encoder.key] = {ids[0]: ids for ids in rows if len(ids) > 1}
        return found

    def _chunks(self, prompts: Sequence[str], encoder: TextEncoder) -> list[list[Chunk]]:
        """Words come and go during a training, and others' ids with them."""
        vocabularies = self._read_vocabularies()
        if vocabularies != self._vocabularies:
            self._vocabularies, self._more_ids = vocabularies, self._ids_of_long_words()
            self._known_ids.clear()
        return super()._chunks(prompts, encoder)

    def _read_vocabularies(self) -> list[tuple[Any, int]]:
        """Others when words were added, or taken out (see `embeddings`)."""
        return [(getattr(each.tokenizer, "backend_tokenizer", None), len(each.tokenizer)) for each in self.encoders]

    def _ids(self, encoder: TextEncoder, text: str) -> list[int]:
        """SD.Next spells a word's further vectors out in the prompt."""
        more = self._more_ids[encoder.key]
        return [each for token in super()._ids(encoder, text) for each in more.get(token, [token])]
