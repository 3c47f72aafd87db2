"""Steps whose loss or gradient is not finite are dropped, and the loss scale follows, without waiting for the GPU.

Whether a step counts is a tensor beside the vectors. The step is made; where the tensor says no, everything that it
changed is put back. So nobody has to read the answer at every step. It is read now and then, to stop a lost training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from .errors import TrainingError

MOST_IN_A_ROW = 5
READ_EVERY = 10  # steps, where reading waits for a GPU
GROW_EVERY = 2000  # steps in range after which the loss scale is doubled again (as in arXiv 1710.03740)
_PREFIX = "guard."


class StepGuard:
    """Counts dropped steps, scales the loss and averages it, all on the device."""

    def __init__(self, loss_scale: float, device: torch.device) -> None:
        self.is_scaled = loss_scale != 1
        self.largest_scale = loss_scale
        self.scale = torch.tensor(loss_scale, device=device)
        self.in_range = torch.zeros((), dtype=torch.long, device=device)  # steps since the scale changed
        self.in_a_row = torch.zeros((), dtype=torch.long, device=device)  # lost whatever the scale
        self.dropped = torch.zeros((), dtype=torch.long, device=device)  # in all
        self.loss_sum = torch.zeros((), device=device)
        self.loss_count = torch.zeros((), dtype=torch.long, device=device)

    def scaled(self, loss: Tensor) -> Tensor:
        """What `backward` is called on."""
        return loss * self.scale if self.is_scaled else loss

    @torch.no_grad()
    def judge(self, loss: Tensor, gradients: Iterable[Tensor]) -> Tensor:
        """Bring the gradients back to scale; whether they and the loss are finite, a bool tensor ()."""
        gradients = list(gradients)
        loss_is_finite = torch.isfinite(loss)
        finite = torch.stack([loss_is_finite, *(torch.isfinite(gradient).all() for gradient in gradients)]).all()
        if self.is_scaled:
            for gradient in gradients:
                gradient /= self.scale
        is_lost = ~loss_is_finite | (self.scale <= 1)
        self.in_a_row = torch.where(finite, 0, self.in_a_row + is_lost)
        self.dropped = self.dropped + ~finite
        self.loss_sum = self.loss_sum + torch.where(finite, loss, 0).to(self.loss_sum)
        self.loss_count = self.loss_count + finite
        if self.is_scaled:
            self._rescale(finite)
        return finite

    def _rescale(self, finite: Tensor) -> None:
        self.in_range = torch.where(finite, self.in_range + 1, 0)
        grows = self.in_range >= GROW_EVERY
        factor = torch.where(finite, torch.where(grows, 2.0, 1.0), 0.5)
        self.scale = (self.scale * factor).clamp(1, self.largest_scale)
        self.in_range = torch.where(grows, 0, self.in_range)

    def check(self, step: int) -> None:
        """Raises TrainingError after too many dropped steps in a row; reads the answer of a GPU only now and then."""
        if self.in_a_row.device.type != "cpu" and step % READ_EVERY:
            return
        lost = int(self.in_a_row)
        if lost >= MOST_IN_A_ROW:
            raise TrainingError(
                f"the loss was no longer a finite number at step {step}, nor in the {lost - 1} before it; "
                "the vectors are kept as they were before; begin again with a lower learning_rate."
            )

    def notice(self) -> str:
        """A sentence when steps were dropped, or nothing; waits for the GPU."""
        count = int(self.dropped)
        steps = "1 step was" if count == 1 else f"{count} steps were"
        return f"{steps} left out: their loss was not a finite number." if count else ""

    def mean_loss(self) -> float | None:
        """Of the steps that counted since the last call; waits for the GPU."""
        count, total = int(self.loss_count), float(self.loss_sum)
        self.loss_sum, self.loss_count = torch.zeros_like(self.loss_sum), torch.zeros_like(self.loss_count)
        return total / count if count else None

    def tensors(self) -> dict[str, Tensor]:
        """All of it, as a snapshot keeps it."""
        return {_PREFIX + name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def put_back(self, tensors: Mapping[str, Tensor]) -> None:
        """What `tensors` gave; a snapshot without it is of a training that dropped nothing."""
        for name, value in self.tensors().items():
            if name in tensors and tensors[name].shape == value.shape:
                setattr(self, name[len(_PREFIX) :], tensors[name].to(value))


def copies(tensors: Iterable[Tensor]) -> dict[int, Tensor]:
    """Of each tensor, by its identity."""
    return {id(tensor): tensor.detach().clone() for tensor in tensors}


@torch.no_grad()
def undo_unless(finite: Tensor, tensors: Iterable[Tensor], before: Mapping[int, Tensor]) -> None:
    """Put back what `copies` made before, where `finite` says no; what was not there yet began as zeros."""
    for tensor in tensors:
        old = before.get(id(tensor))
        tensor.copy_(torch.where(finite.to(tensor.device), tensor, torch.zeros_like(tensor) if old is None else old))
