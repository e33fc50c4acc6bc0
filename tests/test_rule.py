"""Thresholds and temperatures: against brute force, and never from test rows."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn import metrics as sk

from pipeline.config.schema import DecisionConfig, InnerCvConfig
from pipeline.cv.splitters import inner_splits, make_splits, validation_part
from pipeline.dataset.loading import load
from pipeline.decision.rule import apply_temperature
from pipeline.decision.tuning import (
    CANDIDATES,
    check_threshold_metric,
    fit_temperatures,
    fixed_rule,
    learn_rule,
    learn_thresholds,
    match_cardinality,
)
from pipeline.errors import UserError
from pipeline.evaluation.evaluator import Evaluator
from pipeline.model.keras_models import build_model
from pipeline.preprocessing.preprocessor import fit_preprocessor
from pipeline.training.base import FitSpec, fit_seed
from tests.test_runner import SMALL
from tests.test_training import keras_loop

RNG = np.random.default_rng(3)
Z = RNG.normal(size=(200, 4)) - [0, 1, 2, 0]
Y = (RNG.random((200, 4)) < expit(1.5 * Z)).astype(np.int8)
Y_SCORE = expit(Z).astype(np.float32)


def decision(threshold, metric="f1_macro", calibration=None):
    return DecisionConfig(
        threshold=threshold,
        threshold_metric=metric,
        calibration=calibration,
        inner_cv=InnerCvConfig(n_splits=2, validation_fraction=0.2),
    )


SCIKIT_LEARN = {
    "f1_macro": lambda y, p: sk.f1_score(y, p, average="macro", zero_division=0),
    "f1_micro": lambda y, p: sk.f1_score(y, p, average="micro", zero_division=0),
    "accuracy": sk.accuracy_score,
    "hamming_loss": lambda y, p: -sk.hamming_loss(y, p),
    "jaccard_samples": lambda y, p: sk.jaccard_score(y, p, average="samples", zero_division=0),
}


def value(metric, thresholds):
    return SCIKIT_LEARN[metric](Y, np.asarray(thresholds) < Y_SCORE)


@pytest.mark.parametrize("metric", SCIKIT_LEARN)
def test_a_global_threshold_is_the_best_of_all(metric):
    found = learn_thresholds(decision("global", metric), Y, Y_SCORE, 0.0)
    assert len(set(found)) == 1
    best = max(value(metric, candidate) for candidate in CANDIDATES)
    assert value(metric, found[0]) == pytest.approx(best)
    equals = [c for c in CANDIDATES if value(metric, c) == pytest.approx(best)]
    assert abs(found[0] - 0.5) == pytest.approx(min(abs(c - 0.5) for c in equals))


@pytest.mark.parametrize("metric", ["f1_macro", "hamming_loss"])
def test_labels_that_are_independent_get_their_own_best(metric):
    found = learn_thresholds(decision("per_label", metric), Y, Y_SCORE, 0.0)
    for label in range(4):
        others = found.copy()

        def at(candidate, others=others, label=label):
            others[label] = candidate
            return value(metric, others)

        assert value(metric, found) == pytest.approx(max(map(at, CANDIDATES)))


@pytest.mark.parametrize("metric", ["f1_micro", "accuracy", "jaccard_samples"])
def test_no_single_label_can_be_moved_for_the_better(metric):
    found = learn_thresholds(decision("per_label", metric), Y, Y_SCORE, 0.0)
    assert value(metric, found) >= value(
        metric, learn_thresholds(decision("global", metric), Y, Y_SCORE, 0.0)
    )
    for label in range(4):
        moved = found.copy()
        for candidate in CANDIDATES[::7]:
            moved[label] = candidate
            assert value(metric, moved) <= value(metric, found) + 1e-12


def test_a_label_without_rows_keeps_one_half():
    y = Y.copy()
    y[:, 1] = 0
    assert learn_thresholds(decision("per_label"), y, Y_SCORE, 0.0)[1] == 0.5


@given(
    arrays(np.int8, (12, 3), elements=st.integers(0, 1)),
    st.lists(st.integers(1, 999), min_size=36, max_size=36, unique=True),
)
def test_as_many_labels_are_predicted_as_are_true(y, scores):
    y_score = np.array(scores, dtype=np.float32).reshape(12, 3) / 1000
    threshold = match_cardinality(y, y_score)
    assert (y_score > threshold).sum() == y.sum()
    assert 0 <= threshold <= 1


def test_a_temperature_is_the_one_that_a_search_finds():
    found = fit_temperatures(Y, Y_SCORE)
    for label in range(4):
        z, y = logit(Y_SCORE[:, label].astype(np.float64)), Y[:, label]

        def loss(t, z=z, y=y):
            return sk.log_loss(y, expit(z / t))

        best = minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x
        assert found[label] == pytest.approx(best, rel=1e-3)
        assert loss(found[label]) <= loss(1.0)


def test_a_known_temperature_is_found_again():
    z = RNG.normal(size=(100_000, 1)) * 2
    y = (RNG.random(z.shape) < expit(z)).astype(np.int8)
    assert fit_temperatures(y, expit(3 * z).astype(np.float32))[0] == pytest.approx(3, rel=0.05)


def test_labels_that_cannot_tell_keep_the_temperature_1():
    y = Y.copy()
    y[:, 0], y[:, 1] = 0, 1
    assert (fit_temperatures(y, Y_SCORE)[:2] == 1).all()
    perfect = np.where(Y == 1, np.float32(0.9), np.float32(0.1))
    assert fit_temperatures(Y, perfect) == pytest.approx(1 / 20)  # the coldest there is


def test_temperatures_leave_the_order_of_rows():
    calibrated = apply_temperature(Y_SCORE, np.array([0.3, 1, 2, 7.0]))
    for label in range(4):
        auc = [sk.roc_auc_score(Y[:, label], s[:, label]) for s in (Y_SCORE, calibrated)]
        assert auc[0] == pytest.approx(auc[1])


def test_the_served_model_calibrates_the_same():
    from pipeline.tracking.pyfunc_model import apply_temperature as served

    y_score = np.vstack([Y_SCORE, np.zeros((1, 4)), np.ones((1, 4))]).astype(np.float32)
    for temperature in ([0.05, 0.3, 2, 20.0], [1.0] * 4):
        expected = apply_temperature(y_score, np.array(temperature))
        np.testing.assert_allclose(served(y_score, temperature), expected, rtol=1e-6)


def test_thresholds_are_learnt_for_calibrated_probabilities():
    rule = learn_rule(decision("global", calibration="temperature"), Y, Y_SCORE, 0.0)
    calibrated = rule.calibrate(Y_SCORE)
    expected = learn_thresholds(decision("global"), Y, calibrated, 0.0)
    np.testing.assert_array_equal(rule.threshold, expected)
    np.testing.assert_array_equal(rule.decide(calibrated), calibrated > expected)
    plain = fixed_rule(decision(0.3), 4)
    assert plain.calibrate(Y_SCORE) is Y_SCORE
    assert (plain.threshold == 0.3).all()


@pytest.fixture
def grouped(make_config):
    dataset = load(make_config("dataset.n_samples=60").dataset)
    groups = np.arange(60) // 3
    return dataset, replace(dataset, groups=groups)


@pytest.mark.parametrize("n_splits", [1, 2, 5])
def test_inner_parts_divide_the_training_rows_and_nothing_else(grouped, n_splits):
    train = np.arange(0, 60)[RNG.random(60) < 0.8]
    for dataset in grouped:
        held = []
        for inner, out in inner_splits(dataset, train, n_splits, 0.25, 1):
            assert sorted([*inner, *out]) == sorted(train)
            held.append(out)
            if dataset.groups is not None:
                assert not set(dataset.groups[inner]) & set(dataset.groups[out])
        together = np.concatenate(held)
        assert len(set(together)) == len(together)
        assert len(together) == len(train) or n_splits == 1


def test_a_validation_part_has_its_share_of_rows_and_labels(grouped):
    dataset, _ = grouped
    train = np.arange(6, 60)
    rest, part = validation_part(dataset, train, 0.2, 4)
    assert len(part) / len(train) == pytest.approx(0.2, abs=0.02)
    difference = dataset.y[part].mean(axis=0) - dataset.y[rest].mean(axis=0)
    assert np.abs(difference).max() < 0.1
    again = validation_part(dataset, train, 0.2, 4)
    np.testing.assert_array_equal(part, again[1])


def test_too_few_rows_to_divide_are_refused(grouped):
    dataset, _ = grouped
    with pytest.raises(UserError, match=r"at least 5 rows in each training fold.*Received: 3"):
        inner_splits(dataset, np.arange(3), 5, 0.2, 1)


LEARNT = (
    "decision.threshold=per_label",
    "decision.calibration=temperature",
    "decision.inner_cv.n_splits=2",
)


def fold(config, dataset):
    """Run the first fold alone."""
    (split, *_) = make_splits(config.cv, dataset)
    evaluator = Evaluator(config, dataset, [split])
    return next(iter(evaluator.folds(lambda n: None)))


def test_shuffled_test_labels_leave_rule_and_predictions_unchanged(make_config):
    config = make_config(
        *SMALL, *LEARNT, "training.early_stopping.patience=1", "model.ensemble_size=2"
    )
    dataset = load(config.dataset)
    before = fold(config, dataset)
    test = before.split.test
    dataset.y[test] = 1 - dataset.y[test][::-1]
    after = fold(config, dataset)
    np.testing.assert_array_equal(before.rule.threshold, after.rule.threshold)
    np.testing.assert_array_equal(before.rule.temperature, after.rule.temperature)
    np.testing.assert_array_equal(before.y_score, after.y_score)
    np.testing.assert_array_equal(before.y_pred, after.y_pred)
    assert before.scores != after.scores
    assert len(set(before.rule.threshold)) > 1


def test_a_rule_is_what_a_loop_over_inner_folds_finds(make_config):
    config = make_config(*SMALL, *LEARNT)
    dataset = load(config.dataset)
    found = fold(config, dataset)
    seed = fit_seed(config.seed, (0, 0))
    inner = inner_splits(dataset, found.split.train, 2, 0.2, seed)
    y_true, y_score = [], []
    for number, (train, out) in enumerate(inner, start=1):
        fit = _plain_fit(config, dataset, train, out, fit_seed(config.seed, (0, 0), number))
        y_score.append(keras_loop(fit, config.training, _build(config), dataset.X, y=dataset.y)[2])
        y_true.append(dataset.y[out])
    rule = learn_rule(config.decision, np.concatenate(y_true), np.concatenate(y_score), 0.0)
    np.testing.assert_allclose(found.rule.temperature, rule.temperature, rtol=0.01)
    np.testing.assert_allclose(found.rule.threshold, rule.threshold, atol=0.011)


def _plain_fit(config, dataset, train, test, seed):
    preprocessor = fit_preprocessor(config.preprocessing, dataset.X, dataset.categories, train)
    return FitSpec(seed, train, test, preprocessor)


def _build(config):
    return partial(build_model, config.model, n_labels=3)


def test_thresholds_for_what_no_threshold_changes_are_refused():
    with pytest.raises(
        UserError, match=r"a metric of decisions.*'roc_auc_macro', of probabilities"
    ):
        check_threshold_metric(decision("per_label", "roc_auc_macro"), 0.0)
    check_threshold_metric(decision(0.5, "roc_auc_macro"), 0.0)
    check_threshold_metric(decision("global", "jaccard_samples"), 0.0)
