"""Nested folds of networks: equal to plain runs, blind to outer test rows, and resumable."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.cv import OUTER, inner_prefix, make_nested_splits
from pipeline.cv.splitters import make_splits
from pipeline.evaluation.checkpoint import Checkpoint
from pipeline.evaluation.evaluator import Evaluator
from tests.test_splitters import table

SETTINGS = (
    "cv.n_splits=2",
    "cv.n_repeats=1",
    "cv.outer_splits=3",
    "training.epochs=6",
    "training.learning_rate=0.05",
    "training.early_stopping.patience=2",
    "training.fits_per_program=4",
    "decision=tuned",
    "decision.inner_cv.n_splits=2",
    "scoring.metrics=[accuracy,f1_micro,roc_auc_micro]",
)


@pytest.fixture(scope="module")
def config(make_config):
    return make_config(*SETTINGS)


@pytest.fixture(scope="module")
def dataset(shared_rows):
    X, y = shared_rows
    return table(y, X=X[:, :1])


@pytest.fixture(scope="module")
def nested_splits(config, dataset):
    return make_nested_splits(config.cv, dataset)


def evaluate(config, dataset, splits, nested_splits=(), finished=()):
    """Return all folds by their keys, the evaluation, and the progress in fits."""
    evaluator = Evaluator(config, dataset, splits, nested_splits)
    progress = []
    folds = {fold.split.key: fold for fold in evaluator.folds(progress.append, finished)}
    assert evaluator.n_missing == 0
    assert not any(len(fold.y_score) for key, fold in evaluator._folds.items() if key[0])
    assert sum(progress) == evaluator.total == evaluator.n_fits * config.training.epochs
    return folds, evaluator.evaluation()


@pytest.fixture(scope="module")
def result(config, dataset, nested_splits):
    return evaluate(config, dataset, make_splits(config.cv, dataset), nested_splits)


def assert_equal(one, other):
    np.testing.assert_allclose(one.y_score, other.y_score, atol=1e-6)
    np.testing.assert_allclose(one.rule.threshold, other.rule.threshold, atol=1e-6)
    assert one.scores == pytest.approx(other.scores, abs=1e-9)


def test_an_outer_fit_is_that_of_a_plain_run_with_this_fold(config, dataset, nested_splits, result):
    outer = [split for split in nested_splits if split.prefix == OUTER]
    plain, evaluation = evaluate(config, dataset, [replace(split, prefix="") for split in outer])
    for split in outer:
        assert_equal(result[0][split.key], plain["", *split.key[1:]])
    assert evaluation.outer == ()
    assert evaluation.outer_summary == {}
    summary = result[1].outer_summary
    for name, expected in evaluation.summary.items():
        assert summary[name].mean == pytest.approx(expected.mean)
        assert summary[name].ci == pytest.approx(expected.ci)


def test_inner_folds_are_those_of_a_plain_run_on_the_training_rows(
    config, dataset, nested_splits, result
):
    outer = nested_splits[1]
    own = table(dataset.y[outer.train], X=dataset.X[outer.train])
    plain, evaluation = evaluate(config, own, make_splits(config.cv, own))
    for key, fold in plain.items():
        assert_equal(result[0][inner_prefix(outer), *key[1:]], fold)
    inner = result[1].outer[1].inner
    for name, expected in evaluation.summary.items():
        assert inner[name].mean == pytest.approx(expected.mean)
        assert inner[name].ci == pytest.approx(expected.ci)


def test_outer_test_rows_change_neither_the_choice_nor_the_predictions(
    config, dataset, nested_splits, result
):
    outer = nested_splits[0]
    X, y = dataset.X.copy(), dataset.y.copy()
    y[outer.test] = 1 - y[np.random.default_rng(0).permutation(outer.test)]
    X[outer.test] = X[outer.test[::-1]]
    changed = table(y, X=X)
    folds, evaluation = evaluate(config, changed, make_splits(config.cv, changed), nested_splits)
    of_outer = [key for key in folds if key[0] == inner_prefix(outer)]
    assert len(of_outer) == 2
    for key in of_outer:
        np.testing.assert_array_equal(folds[key].y_score, result[0][key].y_score)
        assert folds[key].scores == result[0][key].scores
    one, other = result[0][outer.key], folds[outer.key]
    np.testing.assert_array_equal(one.y_score, other.y_score[::-1])
    np.testing.assert_array_equal(one.rule.threshold, other.rule.threshold)
    assert one.scores != other.scores
    inner = [each.outer[0].inner for each in (result[1], evaluation)]
    assert inner[0] == inner[1]
    others = [each.outer[1].inner for each in (result[1], evaluation)]
    assert others[0] != others[1]  # where these rows train


def test_a_continued_evaluation_has_the_scores_of_an_undisturbed_one(
    config, dataset, nested_splits, result, tmp_path
):
    splits = make_splits(config.cv, dataset)
    kept = [fold for number, fold in enumerate(result[0].values()) if number % 2 == 0]
    checkpoint = Checkpoint(tmp_path / "run")
    for fold in kept:
        checkpoint.save(fold, 1.0)
    checkpoint.wait()
    finished = Checkpoint(tmp_path / "run").load([*splits, *nested_splits])
    assert [fold.split.key for fold in finished] == [fold.split.key for fold in kept]
    _, evaluation = evaluate(config, dataset, splits, nested_splits, finished)
    for one, other in zip(evaluation.outer, result[1].outer, strict=True):
        assert one.split is other.split
        assert one.scores == pytest.approx(other.scores)
        assert one.inner.keys() == other.inner.keys()
        for name, summary in one.inner.items():
            assert summary.mean == pytest.approx(other.inner[name].mean)
    assert [fold.split.key for fold in evaluation.folds] == [split.key for split in splits]
