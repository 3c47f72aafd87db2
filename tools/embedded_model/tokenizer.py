"""A CLIP tokenizer with a short vocabulary: CLIP's own merges, the most frequent ones and those that
the captions need, in a folder that `CLIPTokenizer` loads."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path

from . import drawings
from .shapes import TOKENS

FREQUENT_MERGES = 1600  # CLIP's merges come by frequency, so any first n of them are closed
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = "a an emoji of on background style drawing picture photo icon the with in and rendition cropped good close up"


def byte_alphabet() -> list[str]:
    """The printable stand-ins of the 256 bytes, in CLIP's order (the byte-level BPE of GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = len([b for b in range(256) if b not in printable])
    return [chr(b) for b in printable] + [chr(256 + n) for n in range(others)]


def write_tokenizer(merges_file: Path, folder: Path) -> None:
    """merges_file: CLIP's `bpe_simple_vocab_16e6.txt.gz` (MIT), as the package open_clip_torch ships it."""
    lines = gzip.decompress(merges_file.read_bytes()).decode("utf-8").split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    words = set(WORDS.split()) | set(drawings.STYLES) | set(drawings.BACKGROUNDS)
    for concept in (drawings.HERE / "concept_names.txt").read_text().split():
        words |= set(concept.split("-"))
    needed = set(range(FREQUENT_MERGES)) | _merges_for(words, merges)
    kept = [merges[rank] for rank in sorted(needed)]
    alphabet = byte_alphabet()
    tokens = [*alphabet, *(c + "</w>" for c in alphabet), *("".join(pair) for pair in kept), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in kept) + "\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TOKENS, "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))


def _merges_for(words: set[str], merges: list[tuple[str, ...]]) -> set[int]:
    """Ranks of the merges that CLIP's BPE applies to these words."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    used = set()
    for word in words:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pairs = [(ranks.get(pair, len(ranks)), i) for i, pair in enumerate(pairwise(parts))]
            rank, i = min(pairs)
            if rank == len(ranks):
                break
            used.add(rank)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return used
