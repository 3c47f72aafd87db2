"""The average of a pair over the steps, and where it goes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from dreamartist_ext.engine.averaging import average_in, copy_of, overwrite
from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.snapshot import pair_of
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.run import RunFiles, run_to_files
from dreamartist_ext.files.storage import load_pair, load_snapshot

from .fake_host import FakeHost
from .test_trainer import config, picture


def pair(values, negative=True) -> EmbeddingPair:
    rows = torch.tensor([values], dtype=torch.float64)
    return EmbeddingPair("cat", {"clip": rows}, {"clip": -rows} if negative else None)


numbers = st.lists(st.floats(-100, 100), min_size=3, max_size=3)


@given(st.lists(numbers, min_size=1, max_size=8), st.floats(0, 0.9999), st.booleans())
def test_it_is_the_weighted_sum_of_all_steps(history, decay, negative):
    average = copy_of(pair(history[0], negative))
    for values in history[1:]:
        average_in(average, pair(values, negative), decay)
    later = len(history) - 1
    weights = [decay**later] + [(1 - decay) * decay ** (later - i) for i in range(1, len(history))]
    expected = sum(w * torch.tensor([v], dtype=torch.float64) for w, v in zip(weights, history, strict=True))
    torch.testing.assert_close(average.positive["clip"], expected, atol=1e-9, rtol=1e-9)
    if negative:
        torch.testing.assert_close(average.negative["clip"], -expected, atol=1e-9, rtol=1e-9)


def test_a_copy_is_apart_and_overwriting_keeps_the_tensors():
    first, second = pair([1.0, 2, 3]), pair([4.0, 5, 6])
    held, kept = first.positive["clip"], copy_of(first)
    overwrite(first, second)
    assert first.positive["clip"] is held
    assert held.tolist() == [[4, 5, 6]]
    assert kept.positive["clip"].tolist() == [[1, 2, 3]]


def test_what_is_kept_is_what_is_written_and_judged(tmp_path):
    """The files, the steps on disk and the check loss are the average's; the training itself is not changed."""
    plain = Training(FakeHost(), config(), [picture()])
    list(plain.run())
    files = RunFiles(tmp_path / "out", "mycat")
    training = Training(FakeHost(), config(ema=0.9, save_ema=True, save_every=4, check_every=4), [picture()])
    list(run_to_files(training, files))
    assert torch.equal(training.pair.positive["clip"], plain.pair.positive["clip"])
    average = training.average.detached()
    assert not torch.equal(average.positive["clip"], training.pair.detached().positive["clip"])
    written = load_pair(files.out, "mycat"), load_pair(files.folder, "mycat-000012")
    for found in (*written, pair_of(load_snapshot(files.snapshot), "mycat")):
        assert found.step == 12
        for ours, half in ((found.positive, average.positive), (found.negative, average.negative)):
            torch.testing.assert_close(ours["clip"].float(), half["clip"])
    assert "save_ema" in written[0].provenance["settings"]
    without = Training(FakeHost(), config(ema=0.9, save_every=4, check_every=4), [picture()])
    list(run_to_files(without, RunFiles(tmp_path / "other", "mycat")))
    assert [check.step for check in training.checks] == [4, 8, 12]
    assert all(a.loss != b.loss for a, b in zip(training.checks, without.checks, strict=True))
