"""Write every generated part of the documentation: `python -m tools.pages`."""

from __future__ import annotations

from pathlib import Path

from . import api, command_line, options, sentences
from .marks import put

DOCS = Path(__file__).parents[2] / "docs"
PARTS = {
    "options.md": ("options", options.tables),
    "command-line.md": ("commands", command_line.commands),
    "api.md": ("routes", api.routes),
    "messages.md": ("sentences", sentences.tables),
}


def main() -> None:
    for page, (name, content) in PARTS.items():
        path = DOCS / page
        path.write_text(put(path.read_text(encoding="utf-8"), name, content()), encoding="utf-8")


if __name__ == "__main__":
    main()
