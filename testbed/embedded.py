"""What tests and benchmarks have to know of the embedded model, read from its own files."""

from __future__ import annotations

import json

from dreamartist_ext.hosts.diffusers.model_files import EMBEDDED_MODEL

WIDTH: int = json.loads((EMBEDDED_MODEL / "text_encoder/config.json").read_text())["hidden_size"]  # of token vectors
