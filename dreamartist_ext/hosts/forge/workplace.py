"""Where a training happens inside Forge, which loads its checkpoint with the first picture that is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from ..webuis.workplace import Lookup, WebUIWorkplace
from .embeddings import loaded_engines, reload_embeddings
from .host import ForgeHost
from .model import chosen_checkpoint, is_chosen, loaded_model


class ForgeWorkplace(WebUIWorkplace):
    """`webui` is the name by which the user knows the fork."""

    def __init__(self, webui: str = "Forge") -> None:
        super().__init__()
        self._webui = webui

    def is_in_memory(self) -> bool:
        return is_chosen(loaded_model())

    def host(self) -> ForgeHost:
        """The chosen checkpoint, loaded now where no picture has loaded it yet."""
        return ForgeHost(self._webui)

    def model_name(self) -> str:
        chosen = chosen_checkpoint()
        return "" if chosen is None else str(chosen.name_for_extra)

    def chosen_model(self) -> str:
        model, chosen = loaded_model(), chosen_checkpoint()
        is_other = model is not None and chosen is not None and chosen.filename != model.sd_checkpoint_info.filename
        return str(chosen.name_for_extra) if is_other else ""

    def learned(self) -> None:
        reload_embeddings()

    def lookups(self) -> Sequence[Lookup]:
        return [(engine.tokenize, engine.embeddings) for engine in loaded_engines()]
