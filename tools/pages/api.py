"""docs/api.md: every route with the keys of its body, from the routes themselves."""

from __future__ import annotations

import inspect
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from dreamartist_ext.webui import api
from dreamartist_ext.webui.training.jobs import Desk

from .marks import code, row

SEE_OPTIONS = "Any of the [options](options.md); the others keep their defaults."


def routes() -> str:
    app = FastAPI()
    with tempfile.TemporaryDirectory() as folder:
        place: Any = SimpleNamespace(embeddings=Path(folder) / "embeddings", defaults={}, templates=Path(folder))
        api.mount(app, Desk(place), lambda request: True)
    found = [route for route in all_of(app) if route.path.startswith(api.PREFIX)]
    return "\n\n".join(section(route) for route in found)


def all_of(app: Any) -> list[APIRoute]:
    """The routes of an app, those of routers inside it included: newer versions of FastAPI keep them apart."""
    found = []
    for route in app.routes:
        if isinstance(route, APIRoute):
            found.append(route)
        elif inner := getattr(route, "original_router", None) or getattr(route, "app", None):
            found += all_of(inner) if hasattr(inner, "routes") else []
    return found


def section(route: APIRoute) -> str:
    """A route: what it does, and what its body holds."""
    method = next(iter(route.methods))
    parts = [f"## {method} {route.path.removeprefix(api.PREFIX)}", inspect.cleandoc(route.endpoint.__doc__ or "")]
    body = next(
        (each.annotation for each in inspect.signature(route.endpoint, eval_str=True).parameters.values()), None
    )
    if hasattr(body, "model_fields"):
        rows = [key(name, field) for name, field in body.model_fields.items()]
        parts.append("\n".join(["| key | default | |", "|---|---|---|", *rows]))
    return "\n\n".join(part for part in parts if part)


def key(name: str, field: Any) -> str:
    default = "required" if field.is_required() else code("" if field.default in ("", None) else field.default)
    return row([code(name), default, SEE_OPTIONS if name == "settings" else field.description or ""])
