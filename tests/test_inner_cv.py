"""Inner folds and validation rows, and rules learnt from them without any test row."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from pipeline.cv.splitters import inner_splits, make_splits, validation_part
from pipeline.dataset.loading import load
from pipeline.decision.tuning import learn_rule
from pipeline.errors import UserError
from pipeline.evaluation.evaluator import Evaluator
from pipeline.model.keras_models import build_model
from pipeline.training.base import FitSpec, fit_seed
from tests.keras_reference import model_fit
from tests.test_evaluator import SMALL
from tests.test_preprocessor import fit_preprocessor


@pytest.fixture
def dataset(make_config):
    return load(make_config("dataset.n_samples=60").dataset)


@pytest.mark.parametrize("n_splits", [1, 2, 5])
@pytest.mark.parametrize("groups", [None, np.arange(60) // 3], ids=["rows", "groups"])
def test_inner_folds_partition_the_training_rows(dataset, n_splits, groups):
    dataset = replace(dataset, groups=groups)
    train = np.flatnonzero(np.random.default_rng(3).random(60) < 0.8)
    held_out = []
    for inner_train, inner_test in inner_splits(dataset, train, n_splits, 0.25, 1):
        assert sorted([*inner_train, *inner_test]) == sorted(train)
        held_out += inner_test.tolist()
        if groups is not None:
            assert not set(groups[inner_train]) & set(groups[inner_test])
    assert len(set(held_out)) == len(held_out)
    assert len(held_out) == len(train) or n_splits == 1


def test_validation_rows_have_the_configured_fraction_and_similar_label_frequencies(dataset):
    rows = np.arange(6, 60)
    train, valid = validation_part(dataset, rows, 0.2, 4)
    assert len(valid) / len(rows) == pytest.approx(0.2, abs=0.02)
    difference = dataset.y[valid].mean(axis=0) - dataset.y[train].mean(axis=0)
    assert np.abs(difference).max() < 0.1
    np.testing.assert_array_equal(valid, validation_part(dataset, rows, 0.2, 4)[1])


def test_inner_folds_need_enough_rows(dataset):
    with pytest.raises(UserError, match=r"at least 5 rows in each training fold.*Received: 3"):
        inner_splits(dataset, np.arange(3), 5, 0.2, 1)


LEARNT_RULE = (
    "decision.threshold=per_label",
    "decision.calibration=temperature",
    "decision.inner_cv.n_splits=2",
)


def first_fold(config, dataset):
    """Train and score the first fold only."""
    (split, *_) = make_splits(config.cv, dataset)
    evaluator = Evaluator(config, dataset, [split])
    return next(iter(evaluator.folds(lambda n: None)))


def test_test_labels_do_not_influence_rule_or_predictions(make_config):
    config = make_config(
        *SMALL, *LEARNT_RULE, "training.early_stopping.patience=1", "model.ensemble_size=2"
    )
    dataset = load(config.dataset)
    before = first_fold(config, dataset)
    test = before.split.test
    dataset.y[test] = 1 - dataset.y[test][::-1]
    after = first_fold(config, dataset)
    np.testing.assert_array_equal(before.rule.threshold, after.rule.threshold)
    np.testing.assert_array_equal(before.rule.temperature, after.rule.temperature)
    np.testing.assert_array_equal(before.y_score, after.y_score)
    np.testing.assert_array_equal(before.y_pred, after.y_pred)
    assert before.scores != after.scores
    assert len(set(before.rule.threshold)) > 1


def test_the_rule_equals_that_of_a_loop_over_inner_folds(make_config):
    config = make_config(*SMALL, *LEARNT_RULE)
    dataset = load(config.dataset)
    result = first_fold(config, dataset)
    seed = fit_seed(config.seed, (0, 0))
    inner = inner_splits(dataset, result.split.train, 2, 0.2, seed)
    build = partial(build_model, config.model, n_labels=3)
    y_true, y_score = [], []
    for inner_fold, (train, test) in enumerate(inner, start=1):
        preprocessor = fit_preprocessor(config.preprocessing, dataset.X, dataset.schema, train)
        fit = FitSpec(fit_seed(config.seed, (0, 0), inner_fold), train, test, preprocessor)
        y_score.append(model_fit(fit, config.training, build, dataset.X, y=dataset.y)[2])
        y_true.append(dataset.y[test])
    rule = learn_rule(
        config.decision, np.concatenate(y_true), np.concatenate(y_score), config.scoring
    )
    np.testing.assert_allclose(result.rule.temperature, rule.temperature, rtol=0.01)
    np.testing.assert_allclose(result.rule.threshold, rule.threshold, atol=0.011)
