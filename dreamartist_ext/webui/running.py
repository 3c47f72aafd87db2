"""Which WebUI runs us, told by the packages that it brings: the one place that chooses a host."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from enum import Enum

from ..engine.host import Vectors
from ..hosts.webuis.workplace import UntrainedWorkplace, WebUIWorkplace

StandingFor = Callable[[Mapping[str, Vectors], Mapping[str, str]], AbstractContextManager[None]]  # and their hashes


class WebUI(str, Enum):
    """By the name that users know."""

    AUTOMATIC1111 = "AUTOMATIC1111"
    REFORGE = "reForge"
    CLASSIC = "Forge Classic"
    FORGE = "Forge"
    NEO = "Forge Neo"
    SDNEXT = "SD.Next"
    OTHER = "this WebUI"


OF_FORGE = (WebUI.FORGE, WebUI.NEO)  # a model of its `backend`
OF_A1111 = (WebUI.AUTOMATIC1111, WebUI.REFORGE, WebUI.CLASSIC)  # a model of ldm's and sgm's classes


def running() -> WebUI:
    """Forge's forks are told apart by the version that two of them write."""
    version = getattr(sys.modules.get("modules_forge.forge_version"), "version", "")
    if _has("modules_forge") and _has("backend"):
        return WebUI.NEO if version == "neo" else WebUI.FORGE
    if _has("modules_forge") and _has("ldm_patched"):
        return WebUI.CLASSIC if version == "classic" else WebUI.REFORGE
    if _has("installer"):
        return WebUI.SDNEXT
    return WebUI.AUTOMATIC1111 if _has("ldm") and _has("sgm") else WebUI.OTHER


def _has(package: str) -> bool:
    return package in sys.modules or importlib.util.find_spec(package) is not None


def workplace() -> WebUIWorkplace:
    webui = running()
    if webui in OF_FORGE:
        from ..hosts.forge.workplace import ForgeWorkplace

        return ForgeWorkplace(webui.value)
    if webui in OF_A1111:
        from ..hosts.a1111.workplace import A1111Workplace

        return A1111Workplace(webui.value)
    if webui is WebUI.SDNEXT:
        from ..hosts.sdnext.workplace import SDNextWorkplace

        return SDNextWorkplace()
    return UntrainedWorkplace(webui.value)


def standing_for() -> StandingFor | None:
    """What has prompts take words for other vectors than their files'; None where there is no host that can."""
    webui = running()
    if webui in OF_FORGE:
        from ..hosts.forge.embeddings import standing_for

        return standing_for
    if webui in OF_A1111:
        from ..hosts.a1111.embeddings import standing_for as of_a1111

        return of_a1111
    return None
