"""What a bare machine with a GPU lacks, as wheels: `python -m benchmarks.gpu_bundle`, which `make gpu-check` runs, and
`make embedded-model-gpu` for the training of the embedded model.

Such a machine has torch and transformers, and nothing can be fetched there. It gets a copy of this repository and the
wheels, and runs what this prints. Both together must not be larger than MOST.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("diffusers", "einops")  # in Python alone, so any machine's Python takes them
PACKAGES_OF_THE_MODEL = ("diffusers", "einops", "resvg-py")  # the last for Python 3.10 and later on x86-64
MOST = 64 * 2**20  # bytes
INSTALL = "python3 -m pip install -q --no-index --no-deps --no-compile --upgrade --target {target} {wheels}/*.whl"
RUN = "PYTHONPATH={target} PYTHONUNBUFFERED=1 python3 -m {run}"
CHECK = "benchmarks.gpu_check --out ${OUT:-build/gpu-check}"
TRAIN = "tools.embedded_model.on_gpu train --drawings {drawings} --out ${{OUT:-build/embedded-model-gpu/out}}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/gpu-check/wheels"))
    parser.add_argument("--drawings", type=Path, help="what `tools.embedded_model.on_gpu pack` made: to train on")
    given = parser.parse_args(arguments)
    out, drawings = given.out, given.drawings
    fetch(out, PACKAGES_OF_THE_MODEL if drawings else PACKAGES)
    more = [*out.glob("*.whl"), *([drawings] if drawings else [])]
    size = size_of(files_of_repository()) + size_of(more)
    print(f"{size / 2**20:.1f} MiB travel: the repository's files, and {', '.join(sorted(p.name for p in more))}")
    if size > MOST:
        print(f"That is more than {MOST // 2**20} MiB; leave something out.", file=sys.stderr)
        return 1
    run = TRAIN.format(drawings=drawings) if drawings else CHECK
    print(f"On the machine with the GPU, in the copy of the repository, with these in it:\n\n  {command(out, run)}\n")
    return 0


def fetch(out: Path, packages: Sequence[str] = PACKAGES) -> None:
    """The versions that are installed here, and no others; what lies there already stays."""
    files = {name: name.replace("-", "_") for name in packages}  # as wheels write a name
    for name, file in files.items():
        for wheel in set(out.glob(f"{file}-*.whl")) - set(out.glob(f"{file}-{version(name)}-*.whl")):
            wheel.unlink()
    wanted = [name for name, file in files.items() if not list(out.glob(f"{file}-{version(name)}-*.whl"))]
    if wanted:
        pinned = [f"{name}=={version(name)}" for name in wanted]
        call = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(out)]
        subprocess.run([*call, *pinned], check=True)


def command(wheels: Path, run: str = CHECK, target: str = "/tmp/gpu-check-packages") -> str:
    """What installs the wheels beside the machine's own packages, and runs a module of the repository."""
    return f"{INSTALL} && {RUN}".format(target=target, wheels=wheels, run=run)


def files_of_repository() -> list[Path]:
    """As they travel: tracked ones, and new ones that git does not ignore."""
    found = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [ROOT / name for name in found.stdout.decode().split("\0") if name]


def size_of(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
