"""Drawing with learned words: which of them a prompt holds, and their negatives beside the user's own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..engine.atomic import finish_interrupted
from ..engine.embedding import EmbeddingPair, negative_name
from ..engine.errors import ModelError
from ..engine.family import family_in_words, widths_of
from ..engine.host import Vectors
from ..engine.storage import embedding_files, load_pair
from .diffusers import DiffusersHost
from .prompt_tokens import chunks_of, words_for

BATCH = 4


@dataclass(frozen=True)
class LearnedPrompt:
    """A prompt, the effective negative prompt, and the vectors that both use."""

    prompt: str
    negative_prompt: str
    embeddings: dict[str, Vectors]
    added: tuple[str, ...] = ()


def with_learned_words(host: DiffusersHost, folder: Path, prompt: str, negative_prompt: str) -> LearnedPrompt:
    """Find the folder's words in both prompts and add the negatives of those in the positive one, once."""
    finish_interrupted(folder)
    pairs = {}
    for name in _mentioned(host, folder, f"{prompt} {negative_prompt}"):
        pair = load_pair(folder, name)
        _check_family(host, pair)
        pairs[name] = pair
    embeddings = {word: vectors for pair in pairs.values() for word, vectors in pair.named().items()}
    counts = {word: len(next(iter(vectors.values()))) for word, vectors in embeddings.items()}
    used, typed = words_in(host, prompt, counts), words_in(host, negative_prompt, counts)
    added = [
        negative_name(word)
        for word in used
        if word in pairs and pairs[word].negative is not None and negative_name(word) not in typed
    ]
    effective = ", ".join([negative_prompt, *added] if negative_prompt.strip() else added)
    return LearnedPrompt(prompt, effective, embeddings, tuple(added))


def _mentioned(host: DiffusersHost, folder: Path, text: str) -> list[str]:
    """Names in the folder that the tokenizer finds in the text: the only files worth opening."""
    names = {path.stem for path in embedding_files(folder) if path.stem.lower() in text.lower()}
    return words_in(host, text, dict.fromkeys(sorted(names), 1))  # how many vectors they have is not known yet


def _check_family(host: DiffusersHost, pair: EmbeddingPair) -> None:
    wanted = host.widths
    for vectors in pair.named().values():
        found = widths_of(vectors)
        if found != wanted:
            raise ModelError(
                f"{pair.name} was made for another kind of model: it is for {family_in_words(found)}, and "
                f"{host.name} is {family_in_words(wanted)}."
            )


def words_in(host: DiffusersHost, text: str, counts: dict[str, int]) -> list[str]:
    """Of the words with these numbers of vectors, those that the tokenizer finds in the text, in order, each once."""
    words = words_for(counts, host.token_ids)
    places = [place for chunk in chunks_of(host.token_ids(text), words) for place in chunk.places]
    return list(dict.fromkeys(name for _, name in places))


def draw(
    host: DiffusersHost,
    words: LearnedPrompt,
    seeds: Sequence[int],
    steps: int,
    guidance_scale: float,
    on_step: Callable[[int], object] = lambda pictures: None,
) -> Iterator[Image.Image]:
    """One picture per seed; `on_step` is told how many pictures have come a step further."""
    with host.bind(words.embeddings):
        for first in range(0, len(seeds), BATCH):
            part = list(seeds[first : first + BATCH])
            yield from host.generate(
                [words.prompt] * len(part),
                [words.negative_prompt] * len(part),
                part,
                steps,
                guidance_scale,
                on_step=on_step,
            )


def picture_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
