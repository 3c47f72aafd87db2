"""Run by the WebUI before it starts: installs what the extension needs beyond the WebUI's own packages and is missing.

torch, numpy, Pillow, gradio and fastapi are the WebUI's; they are never touched, and neither is anything that is there.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

NEEDED = {"einops": "einops>=0.4.1", "filelock": "filelock", "safetensors": "safetensors>=0.4.2"}
OPTIONS = "--no-deps --retries 1 --timeout 15"  # the WebUI's start must not wait for a network that is not there


def missing() -> list[str]:
    """Names of packages that cannot be imported."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def install(name: str) -> None:
    """By the WebUI's own helper, which knows its package index; or by pip where there is none."""
    try:
        import launch
    except ImportError:
        command = [sys.executable, "-m", "pip", "install", *OPTIONS.split(), NEEDED[name]]
        subprocess.run(command, check=True, capture_output=True)
    else:
        launch.run_pip(f'install {OPTIONS} "{NEEDED[name]}"', f"{name} for DreamArtist")


def problem_with(name: str) -> str:
    """Install a package; returns in one line what went wrong, or nothing. Whatever happens, the WebUI starts."""
    try:
        install(name)
        importlib.invalidate_caches()
        return "the WebUI was told to install nothing." if name in missing() else ""
    except (Exception, SystemExit) as error:
        return (str(error).splitlines() or [type(error).__name__])[0]


def main() -> None:
    for name in missing():
        if problem := problem_with(name):
            sys.stdout.write(f"DreamArtist needs {name}, which could not be installed: {problem}\n")


if __name__ == "__main__":
    main()
