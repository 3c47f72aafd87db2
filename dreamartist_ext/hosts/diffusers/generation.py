"""Drawing with learned words: which of them a prompt holds, and their negatives beside the user's own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ...engine.errors import ModelError
from ...engine.family import family_in_words, widths_of
from ...engine.host import Vectors
from ...files.formats import load_embedding
from ...files.moves import repair
from ...files.pairing import Pairing, words_of
from ...files.storage import embedding_files
from .host import DiffusersHost
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
    repair(folder)
    files = words_of(embedding_files(folder))
    negatives = _negatives(host, files, f"{prompt} {negative_prompt}")
    embeddings = {}
    for word in {**negatives, **dict.fromkeys(filter(None, negatives.values()))}:
        embeddings[word] = load_embedding(files[word]).vectors
        _check_family(host, word, embeddings[word])
    counts = {word: len(next(iter(vectors.values()))) for word, vectors in embeddings.items()}
    used, typed = words_in(host, prompt, counts), words_in(host, negative_prompt, counts)
    wanted = dict.fromkeys(filter(None, map(negatives.get, used)))
    added = tuple(negative for negative in wanted if negative not in typed)
    effective = ", ".join([negative_prompt, *added] if negative_prompt.strip() else added)
    return LearnedPrompt(prompt, effective, embeddings, added)


def _negatives(host: DiffusersHost, files: Mapping[str, Path], text: str) -> dict[str, str | None]:
    """The negative, if there is one, of each word that the tokenizer finds in the text."""
    names = sorted(word for word in files if word.lower() in text.lower())
    found = words_in(host, text, dict.fromkeys(names, 1))  # how many vectors they have is not known yet
    pairing = Pairing(files)
    return {word: pairing.negative_of(word) for word in found}


def _check_family(host: DiffusersHost, word: str, vectors: Vectors) -> None:
    wanted, found = host.widths, widths_of(vectors)
    if found != wanted:
        raise ModelError(
            f"{word} was made for another kind of model: it is for {family_in_words(found)}, and "
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
