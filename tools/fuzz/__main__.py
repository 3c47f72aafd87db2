"""Fuzz the readers with coverage: `pip install atheris`, then

    python -m tools.fuzz FOLDER -max_total_time=3600

FOLDER keeps what was found on the way; whatever follows is libFuzzer's. An input that a reader answers with anything
but a refusal in one sentence, that takes longer than ten seconds or more than 3 GB, or that makes Python import or
execute something, ends the run and is written to the place that -artifact_prefix names, for a test.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris
from PIL import Image

ROOT = Path(__file__).parents[2]
FORBIDDEN = frozenset(
    "os.system os.exec os.posix_spawn os.spawn os.fork subprocess.Popen pickle.find_class os.mkdir os.remove os.rename "
    "shutil.rmtree socket.connect ctypes.dlopen exec compile import".split()
)

with atheris.instrument_imports(include=["dreamartist_ext.files", "dreamartist_ext.engine", "zipfile"]):
    from .targets import read

from .corpus import inputs, write  # noqa: E402


class Watch:
    """Everything forbidden that the interpreter says it does while it is on."""

    def __init__(self) -> None:
        self.is_on, self.seen = False, []
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple) -> None:
        if self.is_on and event in FORBIDDEN:
            self.seen.append((event, str(arguments)[:200]))


def main() -> None:
    kept = Path(sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    if not kept.is_dir() or not any(kept.iterdir()):
        print(f"{write(kept)} inputs to begin with", flush=True)
    Image.init()  # what is imported on first use is imported before
    for content in inputs(folder / "executed"):
        read(content, folder)
    watch = Watch()

    def one(data: bytes) -> None:
        watch.is_on = True
        try:
            read(data, folder)
        finally:
            watch.is_on = False
        if watch.seen:
            raise AssertionError(f"forbidden: {watch.seen[:3]}")

    options = ["-max_len=65536", "-timeout=10", "-rss_limit_mb=3072", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], str(kept), *options, *sys.argv[2:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
