"""Latents and mask weights of all pictures, encoded once; past a limit they lie on disk instead of in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .attention_mask import MID_GREY, latent_weight, spread
from .config import TrainConfig
from .draws import seed_for
from .errors import FileError
from .host import Cond, DiffusionHost
from .pictures import Fingerprint, Shown
from .transfer import to_device

MOST_IN_MEMORY = 256 * 2**20  # bytes


class Shelf:
    """Tensors in the order in which they are put in. Those past `most` bytes go into a nameless file.

    The operating system removes that file with the process, however that ends."""

    def __init__(self, device: torch.device, folder: Path | None, most: int) -> None:
        self.device, self.folder, self.most = device, folder, most
        self.bytes_in_memory = self.bytes_on_disk = 0
        self._items: list[Tensor | tuple[int, tuple[int, ...], Any]] = []
        self._file: Any = None
        self._map: np.memmap | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, tensor: Tensor) -> None:
        """Raises FileError when the disk is full."""
        size = tensor.numel() * tensor.element_size()
        if self.bytes_in_memory + size <= self.most:
            self.bytes_in_memory += size
            self._items.append(tensor)
            return
        values = tensor.cpu().contiguous().numpy()
        try:
            if self._file is None:
                if self.folder is not None:
                    self.folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self.folder, prefix="latents-")  # noqa: SIM115 - lives as long as this
            self._file.write(values.tobytes())
            self._file.flush()
        except OSError as error:
            raise FileError(f"the latents of the pictures could not be written to disk: {error.strerror}.") from error
        self._items.append((self.bytes_on_disk, values.shape, values.dtype))
        self.bytes_on_disk += size
        self._map = None

    def get(self, index: int) -> Tensor:
        item = self._items[index]
        if isinstance(item, Tensor):
            return item
        offset, shape, kind = item
        if self._map is None:
            self._map = np.memmap(self._file, dtype=np.uint8, mode="r")
        count = int(np.prod(shape)) * kind.itemsize
        values = np.array(self._map[offset : offset + count]).view(kind).reshape(shape)
        return to_device(torch.from_numpy(values), self.device)


class EncodedPictures:
    """What the training reads instead of pictures. Make one inside a host session."""

    def __init__(
        self,
        host: DiffusionHost,
        config: TrainConfig,
        pictures: Sequence[Shown],
        folder: Path | None = None,
        most: int = MOST_IN_MEMORY,
    ) -> None:
        """folder: where the file is made that holds what does not fit into `most` bytes."""
        self.config = config
        self.sizes: list[tuple[int, int]] = []  # (h, w) of every picture's latents
        self._latents = Shelf(host.device, folder, most)  # (4, h, w), or mean and deviation (8, h, w)
        self._contexts: list[Tensor | None] = []  # (5, h, w) for an inpainting model that paints a part
        self._weights: list[Tensor | None] = []  # (1, h, w) on the CPU
        self._pixels = Shelf(torch.device("cpu"), folder, most)  # (3, H, W), where they are needed again
        digest = Fingerprint()
        for index, picture in enumerate(pictures):
            pixels, mask = picture.read()
            digest.add(pixels, mask, picture.caption)
            on_device = pixels[None].to(host.device)
            if config.reconstruction:
                self._pixels.put(pixels)
            latents = self._encode(host, on_device, index)
            self._latents.put(latents)
            self._contexts.append(self._context(host, on_device, mask))
            self.sizes.append((latents.shape[1], latents.shape[2]))
            self._weights.append(self._weight(host, on_device, mask, f'The mask of "{picture.source}"'))
        self.fingerprint = digest.hex()
        self._is_weighed = any(weight is not None for weight in self._weights)
        self.device = host.device

    def __len__(self) -> int:
        return len(self.sizes)

    def _encode(self, host: DiffusionHost, pixels: Tensor, index: int) -> Tensor:
        """pixels (1, 3, H, W) -> (4, h, w), or (8, h, w) where a sample is drawn each time"""
        if self.config.latent_sampling == "mean":
            return host.encode_images(pixels)[0]
        mean, deviation = (part[0] for part in host.encode_posterior(pixels))
        if self.config.latent_sampling == "each":
            return torch.cat([mean, deviation])
        return mean + deviation * _noise(mean.shape, seed_for(self.config.seed, "posterior of", index)).to(mean)

    def _context(self, host: DiffusionHost, pixels: Tensor, mask: Tensor | None) -> Tensor | None:
        if self.config.inpaint == "all":
            return None
        hole = torch.ones_like(pixels[:, :1])  # (1, 1, H, W)
        if mask is not None:
            hole *= (mask >= MID_GREY).to(hole)
        context = host.context_around(pixels, hole)
        return None if context is None else context[0]

    def host_for(self, host: DiffusionHost, indices: Sequence[int]) -> DiffusionHost:
        """The host for these pictures; an inpainting model's also knows what of them to show it."""
        return shown(host, self.context(indices))

    def context(self, indices: Sequence[int]) -> Tensor | None:
        """(B, 5, h, w) of what an inpainting model is shown of these pictures; None for other models."""
        contexts = [context for i in indices if (context := self._contexts[i]) is not None]
        return torch.stack(contexts) if contexts else None

    def _weight(self, host: DiffusionHost, pixels: Tensor, mask: Tensor | None, source: str) -> Tensor | None:
        if mask is None or not self.config.weighs:
            return None
        height, width = self.sizes[-1]
        weight = latent_weight(mask, height, width, source)
        if self.config.spread_mask:
            queries, keys = host.attention_features(pixels)
            weight = spread(weight, queries[0].cpu(), keys[0].cpu(), self.config.spread_mask)
        return weight

    def latents(self, indices: Sequence[int], step: int | None = None) -> Tensor:
        """(B, 4, h, w) of pictures of one size; drawn anew for each step where the settings say so."""
        kept = torch.stack([self._latents.get(i) for i in indices])
        if self.config.latent_sampling != "each":
            return kept
        mean, deviation = kept.chunk(2, dim=1)
        if step is None:
            return mean
        noise = to_device(_noise(mean.shape, seed_for(self.config.seed, "posterior at", step)), mean.device)
        return mean + deviation * noise.to(mean)

    def pixels(self, indices: Sequence[int]) -> Tensor:
        """(B, 3, H, W) in [-1, 1] of pictures of one size; only where the settings have a reconstruction term."""
        return to_device(torch.stack([self._pixels.get(i) for i in indices]), self.device)

    def weights(self, indices: Sequence[int]) -> Tensor | None:
        """(B, 1, h, w), weight 1 where a picture has no mask; None where no picture at all has one."""
        if not self._is_weighed:
            return None
        chosen = [(self._weights[i], self.sizes[i]) for i in indices]
        plain = [torch.ones(1, *size) if weight is None else weight for weight, size in chosen]
        return to_device(torch.stack(plain), self.device)


def shown(host: DiffusionHost, context: Tensor | None) -> DiffusionHost:
    """The host with its predictions made beside this context (B, 5, h, w), if there is one."""
    return host if context is None else _Showing(host, context)  # type: ignore[return-value]


class _Showing:
    """A host whose predictions are made beside these contexts (B, 5, h, w); everything else is the host's."""

    def __init__(self, host: DiffusionHost, context: Tensor) -> None:
        self._host, self._shown = host, context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def predict(self, noisy_latents: Tensor, timesteps: Tensor, cond: Cond) -> Tensor:
        return self._host.predict(noisy_latents, timesteps, cond, self._shown)


def _noise(shape: Sequence[int], seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
