"""A training on disk: where its files are, when they are written, how it goes on."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..engine.check_loss import CheckLoss
from ..engine.embedding import EmbeddingPair, pair_id
from ..engine.errors import DreamArtistError, SettingError, TrainingError
from ..engine.names import negative_name
from ..engine.snapshot import Snapshot, pair_of
from ..engine.stopping import Check, best_of, is_check_due, lacks_check
from ..engine.trainer import StepReport, Training
from .atomic import finish_interrupted, remove_abandoned, write_all_atomically, write_atomically
from .below import folders_below, is_there
from .card_files import files_of_word, home_of_word
from .curve import curve_csv, curve_png
from .earlier import keep_earlier, trainings_of
from .generations import forget_snapshots, keep_snapshot, last_snapshot, one_before
from .moves import repair
from .provenance import provenance_of
from .start import start
from .storage import EMBEDDING_SUFFIXES, embedding_files, load_embedding, load_pair, save_pair

CURVE_TABLE, CURVE_PICTURE = "curve.csv", "curve.png"

LESS_MEMORY = "less_memory on, or a smaller batch_size, width or height, needs less."
GO_ON_WITH_LESS = (
    "less_memory on needs less, also for going on; or begin again with a smaller batch_size, width or height."
)


@dataclass(frozen=True)
class RunFiles:
    """The embeddings NAME and NAME-neg in `out`; what belongs to their training in `OUT-training/NAME`, beside it,
    since the WebUI takes every file below its embeddings folder for a word."""

    out: Path
    name: str

    @property
    def folder(self) -> Path:
        return trainings_of(self.out) / self.name

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshot.safetensors"

    def last_snapshot(self) -> Snapshot:
        """What to go on from: the last snapshot that is whole. Raises FileError."""
        return last_snapshot(self.snapshot)

    def finish_interrupted(self) -> None:
        """Make both files of every pair here of one moment, if a process was killed while it wrote or moved them."""
        repair(self.out)
        finish_interrupted(self.folder)

    def tidy(self) -> None:
        """Finish or remove what a killed process left here; only while nobody else trains this name."""
        for folder in folders_below(self.out):
            remove_abandoned(folder, (self.name, negative_name(self.name)))
        remove_abandoned(self.folder, (f"{self.name}-*", "snapshot*", "curve"))

    def check(self, resume: bool, overwrite: bool) -> None:
        """Before any work: raise SettingError or FileError if the name is taken, there is nothing to resume, or nothing
        can be written here."""
        self.finish_interrupted()
        if resume:
            self.last_snapshot()
        elif not overwrite:
            self.check_free()
        trainings = self.folder.parent
        for folder in (self.out, trainings if trainings.exists() else trainings.parent):
            probe = folder / f".{self.name}.probe"
            write_atomically(probe, b"")
            probe.unlink(missing_ok=True)

    def check_free(self, own: Collection[Path] = ()) -> None:
        """Raises SettingError for a name that is taken by another than these files; writes nothing."""
        taken = [path for path in files_of_word(self.out, self.name) if path not in own]
        taken += [path for path in (self.snapshot, one_before(self.snapshot)) if is_there(path)]
        for path in taken:
            by = "a training that is not finished" if path.parent == self.folder else path.name
            raise SettingError(f"the name {self.name} is taken by {by}; choose another name.", "another name")

    def step_stem(self, step: int) -> str:
        """The name, without its ending, of the files that hold the pair as it was at a step."""
        return f"{self.name}-{step:06d}"

    def kept_steps(self) -> list[int]:
        """The steps at which the pair is on disk, to choose from."""
        found = [re.fullmatch(re.escape(self.name) + r"-(\d{6,})", path.stem) for path in self._step_files()]
        return sorted({int(match[1]) for match in found if match})

    def _step_files(self) -> list[Path]:
        return embedding_files(self.folder, inside=False)

    def best_step(self, checks: Sequence[Check]) -> int | None:
        """Of the steps on disk, the one with the least check loss."""
        losses = {check.step: check.loss for check in checks if math.isfinite(check.loss)}
        return min((step for step in self.kept_steps() if step in losses), key=losses.__getitem__, default=None)

    def use_step(self, step: int) -> EmbeddingPair:
        """Make the pair of a step on disk the one in the embeddings folder; raises FileError."""
        self.finish_interrupted()
        pair = load_pair(self.folder, self.step_stem(step))
        pair.name = self.name
        self.put_in_use(pair)
        return pair

    def put_in_use(self, pair: EmbeddingPair) -> list[Path]:
        """Make a pair the one in the embeddings folder. A copy of an earlier concept of this name goes to the trash,
        unless it is a step on disk anyway; raises FileError, with the earlier one as it was."""
        home = home_of_word(self.out, self.name)
        earlier = [path for path in files_of_word(self.out, self.name) if path.parent == home]
        if earlier and not self._is_of_this_training(earlier, pair):
            keep_earlier(self.out, self.name, earlier)
        return save_pair(pair, home, replacing=[path.name for path in earlier])

    def has_in_use(self, pair: EmbeddingPair) -> bool:
        """Whether what the embeddings folder has under this name is this pair, or a step on disk."""
        earlier = files_of_word(self.out, self.name)
        return bool(earlier) and self._is_of_this_training(earlier, pair)

    def _is_of_this_training(self, files: Sequence[Path], pair: EmbeddingPair) -> bool:
        return _pair_in(files) in {pair_id(pair), *map(self._pair_of_step, self.kept_steps())}

    def _pair_of_step(self, step: int) -> str | None:
        words = self.step_stem(step), negative_name(self.step_stem(step))
        return _pair_in([path for path in self._step_files() if path.stem in words])

    def save_step(self, snapshot: Snapshot) -> int:
        """Put the pair of a snapshot among the steps to choose from; returns its step."""
        save_pair(pair_of(snapshot, self.name), self.folder, stem=self.step_stem(snapshot.step))
        return snapshot.step

    def forget_steps(self) -> None:
        """Remove the snapshot and the steps of an earlier training of this name, with their pictures."""
        kinds = (*EMBEDDING_SUFFIXES, ".jpg")
        steps = [path for suffix in kinds for path in self.folder.glob(f"{self.name}-*{suffix}")]
        forget_snapshots(self.snapshot)
        for path in (*steps, self.folder / CURVE_TABLE, self.folder / CURVE_PICTURE):
            path.unlink(missing_ok=True)


def run_to_files(
    training: Training, files: RunFiles, provenance: Mapping[str, str] | None = None
) -> Generator[StepReport, None, None]:
    """Run the training, yield its reports, and write its files.

    A snapshot is written every `save_every` steps, and when the training ends early: by an error, or because this
    generator is closed. Both embeddings are written at the end, which `patience` may bring forward. Raises FileError
    when a file cannot be written; the version before it is then still whole.
    """
    training.scratch = files.folder
    training.pair.provenance = provenance_of(training, provenance or {})
    files.tidy()
    start(training, files.out)
    saved = training.step
    try:
        _make_up(training, files)
        with closing(_checked(training, files)) as reports:
            for report in reports:
                if _is_due(training):
                    _save(training, files)
                    saved = report.step
                yield report
    except (Exception, GeneratorExit) as error:
        if training.step > saved and training.is_sound():
            _save(training, files) if isinstance(error, TrainingError) else _keep(training, files)
        if is_out_of_memory(error):
            raise TrainingError(f"out of memory at step {training.step + 1}; {GO_ON_WITH_LESS}") from error
        raise
    if training.step > saved:
        _keep(training, files)
    _draw_curve(training, files)  # also where a kill came between the last snapshot and this
    _put_in_use(training, files)


def _make_up(training: Training, files: RunFiles) -> None:
    """The check and the pair of the step that the training goes on from, where an error came before them."""
    lacks = lacks_check(training.config, training.step, training.checks)
    if lacks:
        with training.host.session(), training.host.bind(training.pair.named()):
            training.checks.append(CheckLoss(training)())
    if training.step and _is_due(training) and training.step not in files.kept_steps():
        _save(training, files)
    elif lacks:
        _keep(training, files)


def _checked(training: Training, files: RunFiles) -> Generator[StepReport, None, None]:
    """Until the training is over, with the checks that are due."""
    if training.is_over:
        return
    check = CheckLoss(training)
    with closing(training.run()) as reports:
        for report in reports:
            if report.step == 1:
                files.forget_steps()
            if is_check_due(training.config, report.step):
                training.checks.append(check())
            yield report
            if training.is_over:
                return


def _is_due(training: Training) -> bool:
    """Whether this step's pair goes to the disk: every so often, and the best so far if the best is kept."""
    config, checks = training.config, training.checks
    if config.keep == "best" and checks and checks[-1].step == training.step and best_of(checks) == len(checks) - 1:
        return True
    return bool(config.save_every) and training.step % config.save_every == 0


def final_step(training: Training, files: RunFiles) -> int:
    """The step whose pair is put in use when the training is over."""
    best = files.best_step(training.checks) if training.config.keep == "best" else None
    return training.step if best is None else best


def _put_in_use(training: Training, files: RunFiles) -> None:
    step = final_step(training, files)
    if step == training.step:
        files.put_in_use(training.kept().detached())
    else:
        files.use_step(step)


def is_out_of_memory(error: BaseException) -> bool:
    """torch has no common kind of error for it: CUDA has its own, the CPU's is a plain RuntimeError."""
    return isinstance(error, MemoryError) or any(
        sign in str(error).lower() for sign in ("out of memory", "can't allocate", "not enough memory")
    )


def _save(training: Training, files: RunFiles) -> None:
    """The pair as it is now, to compare with others, and then the snapshot to resume from: who is killed between the
    two goes on from the snapshot before, and writes the same pair again."""
    snapshot = training.snapshot()  # refuses vectors that are not finite
    save_pair(training.kept().detached(), files.folder, stem=files.step_stem(training.step))
    _keep(training, files, snapshot)


def _keep(training: Training, files: RunFiles, snapshot: Snapshot | None = None) -> None:
    """The snapshot, and the curve up to it."""
    keep_snapshot(snapshot or training.snapshot(), files.snapshot)
    _draw_curve(training, files)


def _draw_curve(training: Training, files: RunFiles) -> None:
    if training.checks:
        picture = curve_png(training.checks, training.config.steps)
        table = curve_csv(training.checks)
        write_all_atomically({files.folder / CURVE_TABLE: table, files.folder / CURVE_PICTURE: picture})


def _pair_in(paths: Sequence[Path]) -> str | None:
    """By what they say themselves, the pair that these files are; None if they are not one."""
    try:
        ids = {load_embedding(path).provenance.get("pair") for path in paths}
    except DreamArtistError:
        return None
    return ids.pop() if len(ids) == 1 else None
