"""What the page's script sends: JSON with an object for each thing that was dropped."""

from __future__ import annotations

import json
from typing import Any


def items_sent(given: Any) -> list[dict[str, Any]]:
    """The objects; raises ValueError for anything else."""
    try:
        items = json.loads(given or "[]")
    except (TypeError, RecursionError) as error:
        raise ValueError("no JSON") from error
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError("no list of objects")
    return items
