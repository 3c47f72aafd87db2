"""Where a training happens: inside the WebUI, or in `dreamartist serve`. The tab and the API know no more than this."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from ..engine.host import DiffusionHost


class TrainingHost(DiffusionHost, Protocol):
    """A host that also names its model and the picture sizes that fit it, in pixels.

    `picture_size` is the side that the model was made for; other sides are multiples of `size_unit`.
    """

    picture_size: int
    remark: str  # on the model: what the user should know before the training, in a sentence, or nothing

    @property
    def size_unit(self) -> int: ...

    @property
    def latent_factor(self) -> int:
        """Pixels per latent, along one side."""

    @property
    def name(self) -> str:
        """The model's."""

    @property
    def checkpoint_hash(self) -> str:
        """Ten digits of the SHA-256 of its file, as the WebUI shows it, or nothing."""

    def check_loaded(self) -> None:
        """Raises ModelError when somebody took the model away."""


class Workplace(Protocol):
    """What the page needs from where it stands."""

    defaults: dict[str, Any]  # settings of TrainConfig that suit the model here
    has_cards: bool  # whether pages around ours show a picture of every embedding, from beside its file

    @property
    def embeddings(self) -> Path:
        """The folder of words."""

    @property
    def templates(self) -> Path | None:
        """The folder of template files; None where any path on this machine may be read."""

    def gpu(self, task: str) -> AbstractContextManager[None]:
        """Wait for the model's turn; nobody else uses it inside. `task` is the page's own id for what waits, or ""."""

    def glance(self) -> AbstractContextManager[TrainingHost | None]:
        """The loaded model, for a look at it; None while somebody uses it. Waits for nobody; raises as `host`."""

    def host(self) -> TrainingHost:
        """The loaded model; raises ModelError when it cannot be trained. Call it inside `gpu`."""

    def model_name(self) -> str:
        """For display, without loading anything."""

    def chosen_model(self) -> str:
        """The model that was chosen since and is loaded as soon as the loaded one is free, or nothing."""

    def interrupted(self) -> bool:
        """Whether the user pressed the page's own Interrupt or Skip."""

    def show(self, step: int, steps: int, text: str) -> None:
        """Tell the surrounding page how far it is."""

    def learned(self) -> None:
        """The embeddings folder has changed."""

    def install(self, packages: Sequence[str]) -> None:
        """Bring in small packages that the user asks for; raises SettingError."""

    def clash(self, name: str) -> str:
        """Why a prompt would not find this word, or nothing; without loading anything."""

    def is_one_token(self, name: str) -> bool:
        """Whether the loaded model's tokenizer has this as a whole: a word that it knows. Loads nothing."""
