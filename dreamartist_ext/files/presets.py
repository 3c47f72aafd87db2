"""Settings by kind of concept: the JSON files in assets/presets.

Those called "paper" are what the method's authors published (arXiv 2211.11337 and its repository), word for word.
"study-thing" is what the study chose on the embedded model (docs/evaluation.md), with accumulation in place of the
batch, for the memory, and with the rate at which a step of AdamW turns a vector of held length as far: rate x
sqrt(width) / length, so 0.01 at 192 and 0.30 there, 0.0065 at SD 1's 768 and a length taken to be 0.39. The others are
this project's defaults, with prompts to fit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "assets" / "presets"
ABOUT = "about"  # of a preset, in words: no setting
_ORDER = ("thing", "character", "style", "photo", "study-thing", "paper-character", "paper-style", "paper-photo")

_FILES: dict[str, dict[str, Any]] = {
    name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in _ORDER
}
PRESETS = {name: {key: value for key, value in content.items() if key != ABOUT} for name, content in _FILES.items()}
PRESET_HELP: dict[str, str] = {name: content[ABOUT] for name, content in _FILES.items()}
