"""The routes under /dreamartist/v1: what the page's buttons do, for programs. All of it goes through the `Desk`."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException
from pydantic import Field

from ..engine.config import TrainConfig
from ..engine.errors import FileError, PictureError, SettingError
from ..engine.names import check_name
from ..files.concepts.trash import MissingError, bring_back, throw_away
from ..files.picture_files import load_picture
from ..files.pictures import load_mask
from ..files.presets import KINDS, RECIPES
from ..hosts.webuis.options import command_line
from .api_auth import Door, webui_door
from .api_guards import Body, WholeJSON, answering, decoded, guarded_route
from .compare.api import DrawingRoutes
from .concepts.shelf import Shelf
from .training.job import Ask, Job
from .training.jobs import Desk, in_background
from .training.preparation import Drawn

PREFIX = "/dreamartist/v1"
MAX_PICTURES = 20

# The first bytes of a file, for its ending; whoever decodes it looks for himself.
_ENDINGS = {b"\xff\xd8": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp", b"II*\0": ".tif", b"MM\0*": ".tif"}


def _settings_help() -> str:
    lines = (f"{item.name}: {item.metadata['help']}" for item in fields(TrainConfig) if item.name != "name")
    return "Any of these; the others keep their defaults. " + " ".join(lines)


class TrainBody(Body):
    name: str = Field(description="The word to type in a prompt.")
    pictures: list[str] = Field(description="Picture files in base64.")
    mask: str | None = Field(None, description="Mask of the first picture: brighter than mid-grey counts more.")
    settings: dict[str, Any] = Field({}, description=_settings_help())
    kind: str = Field("", description=f"What it is: {', '.join(KINDS)}.")
    recipe: str = Field("", description=f"Settings to start from, under those given: {', '.join(RECIPES)}.")
    overwrite: bool = Field(False, description="Replace a concept of this name.")
    previews: bool = Field(True, description="Draw some pictures at every check.")
    wait: bool = Field(False, description="Answer when the training is over.")


class CancelBody(Body):
    how: Ask = Field(description="stop: keep the best pair. pause: keep a snapshot. discard: move all to the trash.")


class ContinueBody(Body):
    name: str = Field(description="The word of the training.")
    steps: int | None = Field(None, description="A new number of steps.")
    wait: bool = Field(False, description="Answer when the training is over.")


def mount_in_webui(app: FastAPI, desk: Desk) -> None:
    """Where the WebUI has its own API, and for whom its accounts allow it."""
    flags = command_line()
    if flags.api or flags.nowebui:
        mount(app, desk, webui_door(app, flags))


def mount(app: FastAPI, desk: Desk, authorised: Door) -> None:
    """Add the routes to an app that may be running already; a second time does nothing."""
    if getattr(app.state, "has_dreamartist", False):
        return
    app.state.has_dreamartist = True
    routes = Routes(desk)
    router = APIRouter(
        prefix=PREFIX,
        tags=["DreamArtist"],
        route_class=guarded_route(authorised),
        default_response_class=WholeJSON,
    )
    drawing = DrawingRoutes(desk).routes()
    training: list[tuple[str, str, Callable]] = [
        ("POST", "/train", routes.train),
        ("GET", "/status", routes.status),
        ("POST", "/cancel", routes.cancel),
        ("POST", "/continue", routes.resume),
        ("GET", "/concepts", routes.concepts),
        ("DELETE", "/concepts/{name}", routes.delete),
        ("POST", "/concepts/{name}/restore", routes.restore),
    ]
    for method, path, endpoint in [*training, *drawing]:
        router.add_api_route(path, endpoint, methods=[method])
    app.include_router(router)


class Routes:
    """What each route does. They run in threads of their own, and return what is sent as JSON."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.shelf = Shelf(desk)

    def train(self, body: TrainBody) -> dict[str, Any]:
        """Learn a concept from pictures. Answers at once, or with `wait` when it is over."""
        check_name(body.name)
        if body.settings.get("name", body.name) != body.name:
            raise SettingError(f"name must be given once, got {body.name} and {body.settings['name']!r}.")
        self._check_idle()
        with answering(409, SettingError):
            self.desk.files(body.name).check(resume=False, overwrite=body.overwrite)
        with tempfile.TemporaryDirectory(prefix="dreamartist-") as folder:
            pictures = saved_pictures(body, Path(folder))
            job = self.desk.prepare(
                {**body.settings, "name": body.name},
                pictures,
                body.overwrite,
                body.kind,
                body.recipe,
                Drawn(body.previews),
            )
        return self._begin(job, body.wait)

    def status(self) -> dict[str, Any]:
        """The training under way or just over, and the ones that stopped before their end."""
        job = self.desk.looked_at()
        under_way = job.name if job is not None and not job.is_over else None
        unfinished = [
            {"name": name, "step": step, "steps": steps}
            for name, step, steps in self.desk.unfinished()
            if name != under_way
        ]
        return {"job": None if job is None else job_state(job), "unfinished": unfinished}

    def cancel(self, body: CancelBody) -> dict[str, Any]:
        """End the training under way, after its step."""
        job = self.desk.job
        if job is None or job.is_over:
            raise HTTPException(409, "Nothing is being trained.")
        with answering(409, SettingError):
            job.ask(body.how)
        return job_state(job)

    def resume(self, body: ContinueBody) -> dict[str, Any]:
        """Go on with a training that stopped before its end."""
        check_name(body.name)
        self._check_idle()
        with answering(404, FileError):
            job = self.desk.prepare_continuation(body.name, body.steps)
        return self._begin(job, body.wait)

    def concepts(self) -> dict[str, Any]:
        """The learned words in the embeddings folder."""
        return {"concepts": self.shelf.described()}

    def delete(self, name: str) -> dict[str, Any]:
        """Move a concept into the trash."""
        self._check_not_trained(check_name(name))
        with answering(409, SettingError), answering(404, MissingError):
            trash = throw_away(self.desk.files(name))
        self.desk.workplace.learned()
        return {"trash": trash.name}

    def restore(self, name: str) -> dict[str, Any]:
        """Undo the last deletion of this name."""
        self._check_not_trained(check_name(name))
        with answering(409, SettingError), answering(404, MissingError):
            bring_back(self.desk.files(name))
        self.desk.workplace.learned()
        return self.concepts()

    def _begin(self, job: Job, wait: bool) -> dict[str, Any]:
        if wait:
            self.desk.run(job)
        else:
            in_background(self.desk, job)
        return job_state(job)

    def _check_idle(self) -> None:
        job = self.desk.job
        if job is not None and not job.is_over:
            raise HTTPException(409, f"{job.name} is being trained; stop it first, or wait.")

    def _check_not_trained(self, name: str) -> None:
        job = self.desk.job
        if job is not None and not job.is_over and job.name.lower() == name.lower():
            raise HTTPException(409, f"{job.name} is being trained; stop it first.")


def job_state(job: Job) -> dict[str, Any]:
    """A training as JSON; numbers that JSON does not know are null."""
    checks = [{key: _number(value) for key, value in asdict(check).items()} for check in job.checks]
    return {
        "name": job.name,
        "status": job.status.value,
        "step": job.step,
        "steps": job.config.steps,
        "seconds_left": _number(job.seconds_left),
        "seconds_per_step": _number(job.seconds_per_step),
        "checks": checks,
        "best_step": job.best_step,
        "used_step": job.used_step,
        "message": job.message,
        "notice": job.notice,
    }


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def saved_pictures(body: TrainBody, folder: Path) -> list[Path]:
    """The request's pictures as files, the mask beside the first; raises PictureError."""
    if not 1 <= len(body.pictures) <= MAX_PICTURES:
        raise PictureError(f"pictures must be 1 to {MAX_PICTURES}, got {len(body.pictures)}.")
    paths = []
    for number, text in enumerate(body.pictures, start=1):
        content = decoded(text, f"picture {number}")
        ending = next((ending for start, ending in _ENDINGS.items() if content.startswith(start)), ".png")
        paths.append(folder / f"picture{number}{ending}")
        paths[-1].write_bytes(content)
    if body.mask is not None:
        mask = folder / "picture1_att.png"
        mask.write_bytes(decoded(body.mask, "the mask"))
        load_mask(mask, 64, 64, load_picture(paths[0]).size)
    return paths
