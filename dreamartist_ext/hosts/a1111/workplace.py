"""Where a training happens inside AUTOMATIC1111, and in its forks that hold the model as it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..webuis.workplace import Lookup, WebUIWorkplace
from .embeddings import embedding_database, reload_embeddings
from .host import WebUIHost


class A1111Workplace(WebUIWorkplace):
    """`webui` is the name by which the user knows it, or its fork."""

    def __init__(self, webui: str = "AUTOMATIC1111") -> None:
        super().__init__()
        self._webui = webui

    def is_in_memory(self) -> bool:
        from modules import sd_models

        return sd_models.model_data.sd_model is not None

    def host(self) -> WebUIHost:
        return WebUIHost(self._webui)

    def model_name(self) -> str:
        from modules import sd_models

        model = sd_models.model_data.sd_model
        return str(model.sd_checkpoint_info.name_for_extra) if model is not None else ""

    def chosen_model(self) -> str:
        from modules import sd_models, shared

        loaded = getattr(sd_models.model_data.sd_model, "sd_checkpoint_info", None)
        chosen = sd_models.get_closet_checkpoint_match(shared.opts.sd_model_checkpoint)
        is_other = loaded is not None and chosen is not None and chosen.filename != loaded.filename
        return str(chosen.name_for_extra) if is_other else ""

    def learned(self) -> None:
        reload_embeddings()

    def lookups(self) -> Sequence[Lookup]:
        from modules import sd_models

        encoder: Any = getattr(sd_models.model_data.sd_model, "cond_stage_model", None)
        return [(encoder.tokenize, embedding_database())] if hasattr(encoder, "tokenize") else []
