"""The WebUI that runs the script of the prompts: its prompt language and its embeddings; AUTOMATIC1111, Forge, reForge,
Forge Classic and SD.Next.

Their modules are imported on use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..prompt_language import PromptLanguage, Steps


def old_timelines() -> bool:
    """A compatibility setting with which prompts of the second pass go by the steps of the first."""
    from modules import shared

    return bool(getattr(shared.opts, "use_old_scheduling", False))


@dataclass(frozen=True)
class Host:
    """The WebUI that runs us: its prompt language, and the names of its embeddings."""

    language: PromptLanguage
    loaded: Mapping[str, Any]
    skipped: Mapping[str, Any] = field(default_factory=dict)  # of another family than the loaded model
    infotext_asks_functions: bool = True
    model: str = ""
    settings: tuple[Any, ...] = ()  # all that its reading of a prompt depends on, or nothing where that is not known


def find_host() -> Host | None:
    """Each WebUI's own tokenizer and embedding database, or None where the loaded model has none."""
    from modules import shared

    model = shared.sd_model
    name = str(getattr(getattr(model, "sd_checkpoint_info", None), "name", ""))
    if getattr(model, "embedding_db", None) is not None:  # SD.Next
        tokenizer = getattr(model, "tokenizer", None) or getattr(model, "tokenizer_2", None)
        database = model.embedding_db
        settings = _settings(tokenizer, database)
        return Host(TokenLanguage(tokenizer, database), *_names(database), False, name, settings)
    for attribute in ("text_processing_engine", "text_processing_engine_l", "text_processing_engine_g"):  # Forge
        engine = getattr(model, attribute, None)
        if engine is not None and hasattr(engine, "process_texts"):
            database = engine.embeddings
            return Host(ChunkLanguage(engine), *_names(database), model=name, settings=_settings(engine, database))
    encoder = getattr(model, "cond_stage_model", None)  # AUTOMATIC1111, reForge, Forge Classic
    if not hasattr(encoder, "process_texts"):
        return None
    from modules import sd_hijack

    database = sd_hijack.model_hijack.embedding_db
    return Host(ChunkLanguage(encoder), *_names(database), model=name, settings=_settings(encoder, database))


def _settings(encoder: Any, database: Any) -> tuple[Any, ...]:
    """The text encoder, a look-up that takes the place of the database's own, and every value of the settings."""
    from modules import shared

    values = getattr(shared.opts, "data", None)
    lookup = getattr(database, "__dict__", {}).get("find_embedding_at_position")
    return (encoder, lookup, tuple(values.values())) if isinstance(values, dict) else ()


def _names(database: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return database.word_embeddings, database.skipped_embeddings


class ScheduleLanguage:
    """The part of the prompt language that all WebUIs share. Lives for one batch, and asks nothing twice."""

    def __init__(self) -> None:
        self._schedules: dict[tuple[str, Steps], list[tuple[int, str]]] = {}

    def parts(self, prompt: str) -> list[tuple[str, float]]:
        """A text that stands there twice is one part, of both weights together, as the WebUI adds them up."""
        from modules import prompt_parser

        (found, *_), texts, *_ = prompt_parser.get_multicond_prompt_list([prompt])
        weights = [0.0] * len(texts)
        for index, weight in found:
            weights[index] += weight
        return list(zip(texts, weights, strict=True))

    def schedules(self, prompt: str, steps: Steps) -> list[tuple[int, str]]:
        """Only square brackets switch; parsing a prompt without any takes the WebUI milliseconds all the same."""
        asked = (prompt if "[" in prompt else "", steps)
        if asked not in self._schedules:
            self._schedules[asked] = self._asked(*asked)
        found = self._schedules[asked]
        return found if asked[0] else [(found[-1][0], prompt)]

    @staticmethod
    def _asked(prompt: str, steps: Steps) -> list[tuple[int, str]]:
        from modules import prompt_parser

        more = (steps.second, old_timelines()) if steps.second or old_timelines() else ()  # SD.Next takes no more
        return prompt_parser.get_learned_conditioning_prompt_schedules([prompt], steps.first, *more)[0]


class ChunkLanguage(ScheduleLanguage):
    """A text encoder of AUTOMATIC1111's making, whose chunks hold the embeddings that it found and the weights."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self._encoder = encoder
        self._chunks: dict[str, list[Any]] = {}

    def embeddings(self, text: str) -> list[tuple[str, float]]:
        return [
            (fix.embedding.name, chunk.multipliers[fix.offset + 1])  # the first is the start token's
            for chunk in self._split(text)
            for fix in chunk.fixes
        ]

    def chunks(self, text: str) -> int:
        return len(self._split(text))

    def _split(self, text: str) -> list[Any]:
        if text not in self._chunks:
            self._chunks[text] = self._encoder.process_texts([text])[0][0]
        return self._chunks[text]


class TokenLanguage(ScheduleLanguage):
    """SD.Next: embeddings are tokens of the tokenizer, AND is a word, and BREAK in a negative would not lengthen it."""

    def __init__(self, tokenizer: Any, database: Any) -> None:
        super().__init__()
        self._tokenizer, self._database = tokenizer, database

    def parts(self, prompt: str) -> list[tuple[str, float]]:
        return [(prompt, 1.0)]

    def embeddings(self, text: str) -> list[tuple[str, float]]:
        from modules import prompt_parser

        return [
            (token, weight)
            for section, weight in prompt_parser.parse_prompt_attention(text)
            for token in self._tokenizer.tokenize(section)
            if token in self._database.word_embeddings
        ]

    def chunks(self, text: str) -> int:
        return 1
