"""Settings by kind of concept. "thing" is this project's default; the others are what the method's authors published
(arXiv 2211.11337 and its repository), word for word."""

from __future__ import annotations

from typing import Any

_STYLE_TEMPLATE = "a painting in the style of [name]|a picture in the style of [name]|[name]"

PRESETS: dict[str, dict[str, Any]] = {
    "thing": {},
    "character": {
        "vectors": 3,
        "negative_vectors": 6,
        "steps": 8000,
        "learning_rate": "0.0025",
        "guidance": "3",
    },
    "style": {
        "vectors": 3,
        "negative_vectors": 5,
        "steps": 15000,
        "learning_rate": "0.0025",
        "guidance": "5",
        "template": _STYLE_TEMPLATE,
    },
    "photo": {
        "vectors": 3,
        "negative_vectors": 3,
        "steps": 1000,
        "learning_rate": "0.005",
        "guidance": "5",
    },
}
PRESET_HELP = {
    "thing": "an object, an animal, anything that can be picked out",
    "character": "a drawn person or creature",
    "style": "the way the picture is made, not what it shows",
    "photo": "a photographed subject",
}
