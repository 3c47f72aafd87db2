"""A training on disk: where its files are, when they are written, how it goes on."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .embedding import negative_name
from .errors import DreamArtistError, SettingError
from .storage import find_embedding, load_snapshot, save_pair, save_snapshot, write_atomically
from .trainer import StepReport, Training


@dataclass(frozen=True)
class RunFiles:
    """The embeddings NAME and NAME-neg in `out`, and beside them the folder NAME.training."""

    out: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.out / f"{self.name}.training"

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshot.safetensors"

    def check(self, resume: bool, overwrite: bool) -> None:
        """Say before any work that the name is taken, that there is nothing to resume, or that nothing can be
        written here; raises SettingError or FileError."""
        if resume:
            load_snapshot(self.snapshot)
        elif not overwrite:
            taken = [find_embedding(self.out, word) for word in (self.name, negative_name(self.name))]
            taken.append(self.snapshot if self.snapshot.exists() else None)
            for path in filter(None, taken):
                raise SettingError(
                    f"the name {self.name} is taken by {path}; choose another, resume it, or overwrite it."
                )
        probe = self.out / f".{self.name}.probe"
        write_atomically(probe, b"")
        probe.unlink()


def run_to_files(
    training: Training, files: RunFiles, provenance: Mapping[str, str] | None = None
) -> Generator[StepReport, None, None]:
    """Pass on the reports of `training.run()`, with a snapshot every `save_every` steps, one when it ends early by
    an error of ours or by closing this generator, and both embeddings at the end.

    Raises FileError when a file cannot be written; the one before it is then still whole.
    """
    config = training.config
    training.pair.provenance = {"settings": config.to_json(), **(provenance or {})}
    saved = training.step
    try:
        with closing(training.run()) as reports:
            for report in reports:
                if config.save_every and report.step % config.save_every == 0:
                    _save(training, files)
                    saved = report.step
                yield report
    except (DreamArtistError, GeneratorExit):
        if training.step > saved:
            save_snapshot(training.snapshot(), files.snapshot)
        raise
    if training.step > saved:
        save_snapshot(training.snapshot(), files.snapshot)
    save_pair(training.pair.detached(), files.out)


def _save(training: Training, files: RunFiles) -> None:
    """The snapshot to resume from, and the pair as it is now, to compare with others."""
    snapshot = training.snapshot()  # refuses vectors that are not finite
    save_snapshot(snapshot, files.snapshot)
    save_pair(training.pair.detached(), files.folder, stem=f"{files.name}-{training.step:06d}")
