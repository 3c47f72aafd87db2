"""The WebUI's command line, its settings and its loaded model; AUTOMATIC1111 and its forks have them in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def command_line() -> Any:
    """The arguments that the WebUI was started with."""
    from modules import shared

    return shared.cmd_opts


def embeddings_folder() -> Path:
    """By the command line; SD.Next reads the one among its settings, whatever its command line says.

    The others' settings also hold what is in their file and no setting of theirs, as a file of SD.Next's has it.
    """
    from modules import shared

    is_setting = "embeddings_dir" in getattr(shared.opts, "data_labels", ())
    return Path((is_setting and shared.opts.embeddings_dir) or shared.cmd_opts.embeddings_dir)


def setting(name: str, otherwise: Any) -> Any:
    """A value of the WebUI's Settings page, or `otherwise` where it does not know the setting."""
    from modules import shared

    return getattr(shared.opts, name, otherwise)


def settings_page() -> Any:
    """The module through which a section is added to the Settings page."""
    from modules import shared

    return shared


def script_runner() -> Any:
    """The module that knows every script, the X/Y/Z plot's among them."""
    from modules import scripts

    return scripts


def loaded_model() -> Any:
    """The checkpoint in memory; the WebUI loads one where there is none."""
    from modules import shared

    return shared.sd_model


def total_steps(sampler: str, steps: int) -> int:
    """Calls of the model in so many steps: some samplers make two a step, and prompts are scheduled by calls."""
    from modules import sd_samplers

    config = sd_samplers.find_sampler_config(sampler)
    return int(config.total_steps(steps)) if hasattr(config, "total_steps") else steps
