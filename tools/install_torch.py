"""Install torch into this environment, as a CPU build where there is no NVIDIA GPU and one is to be had.

On Linux the package index's torch brings gigabytes of CUDA. PyTorch's own index has builds without it; where that
index cannot be reached, or pip already knows a CPU build of its own, what pip finds is taken.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
LOCAL_CPU_BUILD = "torch==2.13.0"  # the release that is tested here; some machines hold its CPU build as a file


def pip(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *arguments], check=False).returncode


def cpu_index_answers() -> bool:
    try:
        with urllib.request.urlopen(f"{CPU_INDEX}/torch/", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def main() -> int:
    if importlib.util.find_spec("torch"):
        return 0
    if sys.platform == "linux" and not shutil.which("nvidia-smi") and cpu_index_answers():
        return pip("torch", "--index-url", CPU_INDEX)
    return pip(LOCAL_CPU_BUILD)


if __name__ == "__main__":
    sys.exit(main())
