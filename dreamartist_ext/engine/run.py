"""A training on disk: where its files are, when they are written, how it goes on."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .atomic import finish_interrupted, remove_abandoned, write_atomically
from .check_loss import CheckLoss
from .embedding import EmbeddingPair, negative_name
from .errors import SettingError, TrainingError
from .snapshot import Check, Snapshot, pair_of
from .storage import (
    EMBEDDING_SUFFIXES,
    embedding_files,
    find_embedding,
    load_pair,
    load_snapshot,
    save_pair,
    save_snapshot,
)
from .trainer import StepReport, Training

LESS_MEMORY = "less_memory on, or a smaller batch_size, width or height, needs less."


@dataclass(frozen=True)
class RunFiles:
    """The embeddings NAME and NAME-neg in `out`; what belongs to their training in `OUT-training/NAME`, beside it,
    since the WebUI takes every file below its embeddings folder for a word."""

    out: Path
    name: str

    @property
    def folder(self) -> Path:
        out = self.out.resolve()
        return out.with_name(f"{out.name}-training") / self.name

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshot.safetensors"

    def finish_interrupted(self) -> None:
        """Make both files of every pair here of one moment, if a process was killed while it wrote them."""
        for folder in (self.out, self.folder):
            finish_interrupted(folder)

    def tidy(self) -> None:
        """Finish or remove what a killed process left here; only while nobody else trains this name."""
        remove_abandoned(self.out, (self.name, negative_name(self.name)))
        remove_abandoned(self.folder, (f"{self.name}-*", "snapshot"))

    def check(self, resume: bool, overwrite: bool) -> None:
        """Say before any work that the name is taken, that there is nothing to resume, or that nothing can be
        written here; raises SettingError or FileError."""
        self.finish_interrupted()
        if resume:
            load_snapshot(self.snapshot)
        elif not overwrite:
            self.check_free()
        probe = self.out / f".{self.name}.probe"
        write_atomically(probe, b"")
        probe.unlink(missing_ok=True)

    def check_free(self) -> None:
        """Raises SettingError for a name that is taken; writes nothing."""
        taken = [find_embedding(self.out, word) for word in (self.name, negative_name(self.name))]
        taken.append(self.snapshot if self.snapshot.exists() else None)
        for path in filter(None, taken):
            raise SettingError(f"the name {self.name} is taken by {path}; choose another, resume it, or overwrite it.")

    def step_stem(self, step: int) -> str:
        """The name, without its ending, of the files that hold the pair as it was at a step."""
        return f"{self.name}-{step:06d}"

    def kept_steps(self) -> list[int]:
        """The steps at which the pair is on disk, to choose from."""
        found = [re.fullmatch(re.escape(self.name) + r"-(\d{6,})", path.stem) for path in embedding_files(self.folder)]
        return sorted({int(match[1]) for match in found if match})

    def best_step(self, checks: Sequence[Check]) -> int | None:
        """Of the steps on disk, the one with the least check loss."""
        losses = {check.step: check.loss for check in checks}
        return min((step for step in self.kept_steps() if step in losses), key=losses.__getitem__, default=None)

    def use_step(self, step: int) -> EmbeddingPair:
        """Make the pair of a step on disk the one in the embeddings folder; raises FileError."""
        self.finish_interrupted()
        pair = load_pair(self.folder, self.step_stem(step))
        pair.name = self.name
        self.put_in_use(pair)
        return pair

    def put_in_use(self, pair: EmbeddingPair) -> list[Path]:
        """Make a pair the one in the embeddings folder, with nothing left of an earlier concept of this name; raises
        FileError, with the earlier one as it was."""
        words = (self.name.lower(), negative_name(self.name).lower())
        earlier = [path.name for path in embedding_files(self.out) if path.stem.lower() in words]
        return save_pair(pair, self.out, replacing=earlier)

    def save_step(self, snapshot: Snapshot) -> int:
        """Put the pair of a snapshot among the steps to choose from; returns its step."""
        save_pair(pair_of(snapshot, self.name), self.folder, stem=self.step_stem(snapshot.step))
        return snapshot.step

    def forget_steps(self) -> None:
        """Remove the snapshot and the steps of an earlier training of this name, with their pictures."""
        kinds = (*EMBEDDING_SUFFIXES, ".jpg")
        steps = [path for suffix in kinds for path in self.folder.glob(f"{self.name}-*{suffix}")]
        for path in (self.snapshot, *steps):
            path.unlink(missing_ok=True)


def run_to_files(
    training: Training, files: RunFiles, provenance: Mapping[str, str] | None = None
) -> Generator[StepReport, None, None]:
    """Pass on the reports of `training.run()`, with a snapshot every `save_every` steps, one when it ends early by
    an error or by closing this generator, and both embeddings at the end.

    Raises FileError when a file cannot be written; the one before it is then still whole.
    """
    config = training.config
    training.scratch = files.folder
    training.pair.provenance = {"settings": config.to_json(), **(provenance or {})}
    files.tidy()
    saved = training.step
    check = CheckLoss(training)
    try:
        with closing(training.run()) as reports:
            for report in reports:
                if report.step == 1:
                    files.forget_steps()
                due = bool(config.save_every) and report.step % config.save_every == 0
                if due or report.step == config.steps:
                    training.checks.append(check())
                if due:
                    _save(training, files)
                    saved = report.step
                yield report
    except (Exception, GeneratorExit) as error:
        if training.step > saved and training.is_sound():
            save_snapshot(training.snapshot(), files.snapshot)
        if is_out_of_memory(error):
            raise TrainingError(f"out of memory at step {training.step + 1}; {LESS_MEMORY}") from error
        raise
    if training.step > saved:
        save_snapshot(training.snapshot(), files.snapshot)
    files.put_in_use(training.kept().detached())


def is_out_of_memory(error: BaseException) -> bool:
    """torch has no common kind of error for it: CUDA has its own, the CPU's is a plain RuntimeError."""
    return isinstance(error, MemoryError) or any(
        sign in str(error).lower() for sign in ("out of memory", "can't allocate", "not enough memory")
    )


def _save(training: Training, files: RunFiles) -> None:
    """The snapshot to resume from, and the pair as it is now, to compare with others."""
    snapshot = training.snapshot()  # refuses vectors that are not finite
    save_snapshot(snapshot, files.snapshot)
    save_pair(training.kept().detached(), files.folder, stem=files.step_stem(training.step))
