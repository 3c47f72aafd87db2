"""What the command line adds to an error: the flag that helps. The sentences of the rooms below name none."""

from __future__ import annotations

from ..engine.errors import DreamArtistError, Remedy

# By what would help, and the command; the empty one is any.
ADVICE: dict[tuple[Remedy, str], str] = {
    ("another name", "train"): "With --resume that training goes on, with --overwrite it is replaced.",
    ("picture of it", "evaluate"): "--reference NAME=PICTURE gives it, or --reference FOLDER one for each pair.",
    ("weights of CLIP", "evaluate"): "--clip names their file.",
    ("model of CLIP", "evaluate"): "--clip-model names it.",
    ("lists of prompts", "evaluate"): "--write-prompts FOLDER copies them.",
    ("going on", "train"): "The same command with --resume does that.",
    ("packages that measure", "evaluate"): 'pip install "dreamartist[evaluation]" brings them.',
    ("open_clip", "evaluate"): 'pip install "dreamartist[clip]" brings it.',
    ("card", "rename"): '"dreamartist convert CARD.png NAME.pt" does that.',
    ("Ray", "train-many"): "With --workers 0 one comes after the other in this process, without it.",
}


def add_advice(error: DreamArtistError, command: str) -> None:
    """Put the flag that helps behind the sentence, if there is one in this command."""
    advice = ADVICE.get((error.remedy, command))
    if advice:
        error.args = (f"{error} {advice}",)
        error.remedy = ""
