"""What a run that was cut off finds again, and what it does not trust."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cv.splitters import Split
from pipeline.decision.rule import DecisionRule
from pipeline.evaluation.checkpoint import Checkpoint
from pipeline.evaluation.fold_results import FoldResult

FLOATS = st.floats(width=64)  # NaN and infinities, too


SCORES = {"accuracy": 0.1, "roc_auc_macro": np.float64("nan")}


def make_fold(repeat=0, fold=0, scores=SCORES, n_test=4):
    """Return a fold with something in each field, whatever fields there are."""
    rows = np.arange(10)
    values = {
        "split": Split(repeat, fold, rows[n_test:], rows[:n_test]),
        "y_score": np.random.default_rng(fold).random((n_test, 3), dtype=np.float32),
        "scores": {"accuracy": 0.1, "roc_auc_macro": np.float64("nan")}
        if scores is None
        else scores,
        "n_undefined_labels": {"roc_auc_macro": 2},
        "seconds": 0.25,
    }
    array = np.array([0.5, np.nan, 0.25], dtype=np.float32)
    values["rule"] = DecisionRule(array, array + 1)
    for field in dataclasses.fields(FoldResult):
        values.setdefault(field.name, array)
    return FoldResult(**values)


def assert_same(one, other):
    for field in dataclasses.fields(FoldResult):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        elif field.name == "rule":
            np.testing.assert_array_equal(a.temperature, b.temperature)
            np.testing.assert_array_equal(a.threshold, b.threshold)
        elif field.name != "split":
            np.testing.assert_equal(a, b)


def test_what_is_saved_is_read_as_it_was(tmp_path):
    folds = [make_fold(repeat, fold) for repeat in range(2) for fold in range(3)]
    checkpoint = Checkpoint(tmp_path / "run")
    for place, fold in enumerate(folds[:4]):
        checkpoint.save(fold, float(place))
    checkpoint.wait()
    again = Checkpoint(tmp_path / "run")
    found = again.load([fold.split for fold in folds])
    assert again.elapsed == 3.0
    assert [(f.split.repeat, f.split.fold) for f in found] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    for fold, same in zip(folds, found, strict=False):
        assert same.split is fold.split
        assert_same(fold, same)


@given(st.dictionaries(st.sampled_from(["accuracy", "log_loss", "f1"]), FLOATS))
def test_scores_come_back_to_the_last_digit(tmp_path_factory, scores):
    fold = make_fold(scores=scores)
    checkpoint = Checkpoint(tmp_path_factory.mktemp("scores"))
    checkpoint.save(fold, 0.0)
    checkpoint.wait()
    (same,) = Checkpoint(checkpoint._folder).load([fold.split])
    assert_same(fold, same)


@pytest.mark.parametrize("damage", [b"", b"no zip", "half", "old"])
def test_a_damaged_file_is_trained_again(tmp_path, damage):
    fold = make_fold()
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save(fold, 0.0)
    checkpoint.wait()
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    if damage == "old":  # written when a fold had other fields
        with np.load(file) as read:
            np.savez(file, **{name: read[name] for name in read.files if name != "loss"})
    else:
        file.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    again = Checkpoint(tmp_path)
    assert again.load([fold.split]) == []
    again.save(fold, 0.0)
    again.wait()
    assert len(Checkpoint(tmp_path).load([fold.split])) == 1


def test_a_pickle_is_never_loaded(tmp_path):
    fold = make_fold()
    evil = np.array([object()], dtype=object)
    with (tmp_path / "0-0.npz").open("wb") as file:
        np.savez(file, y_score=evil, rest=evil)
    assert Checkpoint(tmp_path).load([fold.split]) == []


def test_what_is_cut_off_while_writing_leaves_nothing_and_is_told(tmp_path, monkeypatch):
    def full(_):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.save(make_fold(0, 0), 0.0) is None
    checkpoint.wait()
    assert Checkpoint(tmp_path).load([make_fold().split]) == []
    monkeypatch.undo()
    assert "no space left" in str(checkpoint.save(make_fold(0, 1), 0.0))
    assert checkpoint.save(make_fold(0, 2), 0.0) is None  # once
    checkpoint.wait()
    assert len(Checkpoint(tmp_path).load([make_fold(0, i).split for i in range(3)])) == 2


def test_a_run_that_finishes_soon_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.evaluation.checkpoint.SECONDS_UNTIL_WRITTEN", 3600)
    written = []
    monkeypatch.setattr("numpy.savez", lambda *args, **arrays: written.append(args))
    with Checkpoint(tmp_path / "run") as checkpoint:
        checkpoint.save(make_fold(), 0.0)
    assert written == []
    checkpoint.remove()
    checkpoint.wait()
    assert written == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_run_that_ends_early_writes_its_folds_at_once(tmp_path, monkeypatch, error):
    monkeypatch.setattr("pipeline.evaluation.checkpoint.SECONDS_UNTIL_WRITTEN", 3600)
    folds = [make_fold(0, fold) for fold in range(3)]

    def end_early():
        with Checkpoint(tmp_path / "run") as checkpoint:
            for fold in folds:
                checkpoint.save(fold, 0.0)
            raise error

    with pytest.raises(error):
        end_early()
    Checkpoint(tmp_path).wait()  # for the thread that all share
    splits = [fold.split for fold in folds]
    assert len(Checkpoint(tmp_path / "run").load(splits)) == 3


def test_a_fold_is_written_while_its_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.evaluation.checkpoint.SECONDS_UNTIL_WRITTEN", 0.05)
    with Checkpoint(tmp_path / "run") as checkpoint:
        checkpoint.save(make_fold(), 0.0)
        Checkpoint(tmp_path).wait()
        assert len(Checkpoint(tmp_path / "run").load([make_fold().split])) == 1


def test_a_run_takes_over_what_another_finished(tmp_path):
    fold = make_fold()
    old, new = Checkpoint(tmp_path / "old"), Checkpoint(tmp_path / "new")
    old.save(fold, 1.0)
    old.wait()
    new.take_over("old")
    assert len(new.load([fold.split])) == 1
    new.remove()
    new.wait()
    assert list(tmp_path.iterdir()) == []


def test_folds_with_another_importance_than_is_requested_are_trained_again(tmp_path):
    repeats_5, repeats_9 = ({"report.importance_repeats": n} for n in ("5", "9"))
    first, second = make_fold(fold=0), dataclasses.replace(make_fold(fold=1), importance=None)
    for settings, fold in ((repeats_5, first), ({}, second)):
        checkpoint = Checkpoint(tmp_path / "run", settings)
        checkpoint.save(fold, 1.0)
        checkpoint.wait()
    splits = [first.split, second.split]
    (again,) = Checkpoint(tmp_path / "run", repeats_5).load(splits)
    assert_same(again, first)
    assert Checkpoint(tmp_path / "run", repeats_9).load(splits) == []
    for expected, actual in zip(
        [first, second], Checkpoint(tmp_path / "run").load(splits), strict=True
    ):
        assert_same(actual, expected)
