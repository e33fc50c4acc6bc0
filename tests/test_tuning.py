"""Thresholds and temperatures against brute force and scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn import metrics as sk

from pipeline.config.schema import DecisionConfig, InnerCvConfig, ScoringConfig
from pipeline.decision import temperatures
from pipeline.decision.candidates import global_values
from pipeline.decision.rule import EDGE, DecisionRule, apply_temperature
from pipeline.decision.tuning import (
    CANDIDATES,
    check_threshold_metric,
    fit_temperatures,
    fixed_rule,
    learn_rule,
    match_cardinality,
    tune_thresholds,
)
from pipeline.errors import UserError
from pipeline.scoring import DECISION_METRICS, classification_metrics, find_metric

RNG = np.random.default_rng(3)
Z = RNG.normal(size=(200, 4)) - [0, 1, 2, 0]
Y = (RNG.random((200, 4)) < expit(1.5 * Z)).astype(np.int8)
Y_SCORE = expit(Z).astype(np.float32)
SCORING = ScoringConfig(
    metrics=("accuracy",), greater_is_better={}, zero_division=0.0, weighted=False
)


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
def test_a_global_threshold_is_the_best_candidate(metric):
    thresholds = tune_thresholds(decision("global", metric), Y, Y_SCORE, SCORING)
    assert len(set(thresholds)) == 1
    best = max(value(metric, candidate) for candidate in CANDIDATES)
    assert value(metric, thresholds[0]) == pytest.approx(best)
    equals = [c for c in CANDIDATES if value(metric, c) == pytest.approx(best)]
    assert abs(thresholds[0] - 0.5) == pytest.approx(min(abs(c - 0.5) for c in equals))


@pytest.mark.parametrize("metric", ["f1_macro", "hamming_loss"])
def test_each_label_has_its_best_threshold_if_the_metric_is_a_mean_over_labels(metric):
    thresholds = tune_thresholds(decision("per_label", metric), Y, Y_SCORE, SCORING)
    for label in range(4):
        others = thresholds.copy()

        def at(candidate, others=others, label=label):
            others[label] = candidate
            return value(metric, others)

        assert value(metric, thresholds) == pytest.approx(max(map(at, CANDIDATES)))


@pytest.mark.parametrize("metric", ["f1_micro", "accuracy", "jaccard_samples"])
def test_no_change_of_a_single_threshold_improves_other_metrics(metric):
    thresholds = tune_thresholds(decision("per_label", metric), Y, Y_SCORE, SCORING)
    assert value(metric, thresholds) >= value(
        metric, tune_thresholds(decision("global", metric), Y, Y_SCORE, SCORING)
    )
    for label in range(4):
        moved = thresholds.copy()
        for candidate in CANDIDATES[::7]:
            moved[label] = candidate
            assert value(metric, moved) <= value(metric, thresholds) + 1e-12


RATIOS = ("precision", "recall", "f1", "jaccard")
TUNED = ("global", "per_label")
COUNTED = ["accuracy", *(f"{f}_{a}" for f in RATIOS for a in ("micro", "samples"))]


def descend(metric, y, y_score, zero_division, *weights):
    """Tune by computing the metric from all predictions for each candidate of each label."""

    def best(values):
        equals = [c for c, it in zip(CANDIDATES, values, strict=True) if it >= max(values) - 1e-12]
        return min(equals, key=lambda c: abs(c - 0.5))

    score = find_metric(metric, zero_division)
    start = [score(y, y_score, (y_score > c).astype(np.int8), *weights) for c in CANDIDATES]
    thresholds = np.full(y.shape[1], best(start))
    for _ in range(3):
        before = thresholds.copy()
        for label in range(y.shape[1]):
            values = []
            for candidate in CANDIDATES:
                thresholds[label] = candidate
                y_pred = (y_score > thresholds).astype(np.int8)
                values.append(score(y, y_score, y_pred, *weights))
            thresholds[label] = best(values)
        if (thresholds == before).all():
            break
    return thresholds


@pytest.mark.parametrize("metric", COUNTED)
@given(data=st.data(), zero_division=st.sampled_from([0.0, 1.0]))
@settings(max_examples=10)
def test_counted_metrics_get_the_thresholds_of_brute_force(metric, data, zero_division):
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 3)))
    y = data.draw(arrays(np.int8, shape, elements=st.integers(0, 1)))  # some labels are constant
    hundredths = st.integers(0, 100).map(lambda it: np.float32(it / 100))  # ties with candidates
    anywhere = st.floats(0, 1, width=32)
    few = st.sampled_from(np.float32([0.2, 0.5, 0.500001, 0.7]))
    elements = data.draw(st.sampled_from([hundredths, anywhere, few]))
    y_score = data.draw(arrays(np.float32, shape, elements=elements))
    thresholds = tune_thresholds(
        decision("per_label", metric), y, y_score, replace(SCORING, zero_division=zero_division)
    )
    np.testing.assert_array_equal(thresholds, descend(metric, y, y_score, zero_division))


@pytest.mark.parametrize("metric", COUNTED)
@given(data=st.data(), zero_division=st.sampled_from([0.0, 1.0]))
@settings(max_examples=10)
def test_brute_force_with_labels_that_are_not_known_and_weights(metric, data, zero_division):
    shape = data.draw(st.tuples(st.integers(2, 12), st.integers(1, 3)))
    mask = data.draw(arrays(np.bool_, shape))
    mask[0] = True
    y = data.draw(arrays(np.int8, shape, elements=st.integers(0, 1))) * mask
    few = st.sampled_from(np.float32([0.2, 0.5, 0.500001, 0.7]))
    y_score = data.draw(arrays(np.float32, shape, elements=few))
    weights = data.draw(arrays(np.float32, shape[0], elements=st.sampled_from([1, 2, 4])))
    given = (mask, data.draw(st.sampled_from([None, weights])))
    scoring = replace(SCORING, zero_division=zero_division)
    thresholds = tune_thresholds(decision("per_label", metric), y, y_score, scoring, *given)
    expected = descend(metric, y, y_score, zero_division, *given)
    np.testing.assert_array_equal(thresholds, expected)


@pytest.mark.parametrize("metric", ["f1_macro", "jaccard_weighted", "hamming_loss"])
def test_each_label_is_tuned_on_the_rows_that_know_it(metric):
    mask = RNG.random(Y.shape) < 0.4
    mask[:, 3] = False
    thresholds = tune_thresholds(
        decision("per_label", metric), Y * mask, Y_SCORE, SCORING, mask, np.ones(len(Y))
    )
    for label in range(3):
        rows = mask[:, label]
        alone = tune_thresholds(
            decision("per_label", metric), Y[rows][:, [label]], Y_SCORE[rows][:, [label]], SCORING
        )
        assert thresholds[label] == alone[0]
    assert thresholds[3] == 0.5
    temperatures = fit_temperatures(Y * mask, Y_SCORE, mask)
    for label in range(3):
        rows = mask[:, label]
        alone = fit_temperatures(Y[rows][:, [label]], Y_SCORE[rows][:, [label]])
        assert temperatures[label] == pytest.approx(alone[0], rel=1e-6)
    assert temperatures[3] == 1
    repeated = np.repeat(np.arange(len(Y)), 1 + np.arange(len(Y)) % 3)
    weights = np.bincount(repeated).astype(np.float32)
    assert fit_temperatures(Y, Y_SCORE, None, weights) == pytest.approx(
        fit_temperatures(Y[repeated], Y_SCORE[repeated]), rel=1e-6
    )
    assert match_cardinality(Y * mask, Y_SCORE, mask) == match_cardinality(
        Y[mask][:, None], Y_SCORE[mask][:, None]
    )


@pytest.mark.parametrize("metric", DECISION_METRICS)
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("is_masked", [False, True])
def test_a_global_threshold_has_the_best_value_of_the_metric_itself(metric, is_weighted, is_masked):
    y, y_score = np.tile(Y, (1, 3)), np.roll(np.tile(Y_SCORE, (1, 3)), 1, axis=0)
    mask = RNG.random(y.shape) < 0.97 if is_masked else None
    y = y if mask is None else y * mask
    weights = RNG.random(len(y)).astype(np.float32) if is_weighted else None
    sign = -1 if metric == "hamming_loss" else 1
    values = [
        sign * find_metric(metric, 0.0)(y, y_score, (y_score > it).astype(np.int8), mask, weights)
        for it in CANDIDATES
    ]
    counted = global_values(metric, y, y_score, 0.0, mask, weights)
    np.testing.assert_allclose(counted, values, rtol=1e-12)


def test_blocks_of_rows_give_the_thresholds_and_temperatures_of_the_whole(monkeypatch):
    for module in (classification_metrics, temperatures):
        monkeypatch.setattr(module, "MAX_CELLS", 10**9)
    configs = [decision(kind, metric) for metric in DECISION_METRICS for kind in TUNED]
    whole = [tune_thresholds(config, Y, Y_SCORE, SCORING) for config in configs]
    at_once = fit_temperatures(Y, Y_SCORE)
    for module in (classification_metrics, temperatures):
        monkeypatch.setattr(module, "MAX_CELLS", 600)
    for config, expected in zip(configs, whole, strict=True):
        np.testing.assert_array_equal(tune_thresholds(config, Y, Y_SCORE, SCORING), expected)
    np.testing.assert_allclose(fit_temperatures(Y, Y_SCORE), at_once, rtol=1e-9)


def own_metric(y_true, y_score, y_pred):
    return 2 * (y_true & y_pred).sum() / max(1, y_true.sum() + y_pred.sum())


def test_a_metric_of_the_user_gets_the_same_thresholds():
    own = tune_thresholds(decision("per_label", f"{__name__}.own_metric"), Y, Y_SCORE, SCORING)
    counted = tune_thresholds(decision("per_label", "f1_micro"), Y, Y_SCORE, SCORING)
    np.testing.assert_array_equal(own, counted)


def test_a_label_without_positives_keeps_the_threshold_one_half():
    y = Y.copy()
    y[:, 1] = 0
    assert tune_thresholds(decision("per_label"), y, Y_SCORE, SCORING)[1] == 0.5


@given(
    arrays(np.int8, (12, 3), elements=st.integers(0, 1)),
    st.lists(st.integers(1, 999), min_size=36, max_size=36, unique=True),
)
def test_cardinality_predicts_as_many_labels_as_are_true(y, scores):
    y_score = np.array(scores, dtype=np.float32).reshape(12, 3) / 1000
    threshold = match_cardinality(y, y_score)
    assert (y_score > threshold).sum() == y.sum()
    assert 0 <= threshold <= 1


def test_temperatures_minimize_the_log_loss():
    temperatures = fit_temperatures(Y, Y_SCORE)
    for label in range(4):
        z, y = logit(Y_SCORE[:, label].astype(np.float64)), Y[:, label]

        def loss(t, z=z, y=y):
            return sk.log_loss(y, expit(z / t))

        best = minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x
        assert temperatures[label] == pytest.approx(best, rel=1e-3)
        assert loss(temperatures[label]) <= loss(1.0)


def test_a_simulated_temperature_is_recovered():
    z = RNG.normal(size=(100_000, 1)) * 2
    y = (RNG.random(z.shape) < expit(z)).astype(np.int8)
    assert fit_temperatures(y, expit(3 * z).astype(np.float32))[0] == pytest.approx(3, rel=0.05)


def test_constant_labels_keep_the_temperature_1():
    y = Y.copy()
    y[:, 0], y[:, 1] = 0, 1
    assert (fit_temperatures(y, Y_SCORE)[:2] == 1).all()
    perfect = np.where(Y == 1, np.float32(0.9), np.float32(0.1))
    assert fit_temperatures(Y, perfect) == pytest.approx(1 / 20)  # the lowest temperature


def test_temperatures_preserve_the_order_of_rows():
    calibrated = apply_temperature(Y_SCORE, np.array([0.3, 1, 2, 7.0]))
    for label in range(4):
        auc = [sk.roc_auc_score(Y[:, label], s[:, label]) for s in (Y_SCORE, calibrated)]
        assert auc[0] == pytest.approx(auc[1])


def test_calibration_divides_the_log_odds():
    y_score = np.vstack([Y_SCORE, np.zeros((1, 4)), np.ones((1, 4))]).astype(np.float32)
    temperature = np.array([0.05, 0.3, 2, 20.0])
    inside = np.clip(y_score.astype(np.float64), EDGE, 1 - EDGE)
    calibrated = DecisionRule(temperature, np.full(4, 0.5)).calibrate(y_score)
    assert calibrated.dtype == np.float32
    np.testing.assert_allclose(calibrated, expit(logit(inside) / temperature), 1e-6, 1e-38)


def test_thresholds_are_tuned_on_calibrated_probabilities():
    rule = learn_rule(decision("global", calibration="temperature"), Y, Y_SCORE, SCORING)
    calibrated = rule.calibrate(Y_SCORE)
    expected = tune_thresholds(decision("global"), Y, calibrated, SCORING)
    np.testing.assert_array_equal(rule.threshold, expected)
    np.testing.assert_array_equal(rule.decide(calibrated), calibrated > expected)
    fixed = fixed_rule(decision(0.3), 4)
    assert fixed.calibrate(Y_SCORE) is Y_SCORE
    assert (fixed.threshold == 0.3).all()


def n_predicted(y_true, y_score, y_pred):
    """A metric of the user's own."""
    return float(y_pred.sum())


@pytest.mark.parametrize(("greater", "expected"), [(True, 0.01), (False, 0.99)])
def test_the_direction_of_an_own_threshold_metric_is_set(greater, expected):
    config = decision("per_label", "tests.test_tuning.n_predicted")
    with pytest.raises(UserError, match=r"greater_is_better: missing for tests\.test_tuning"):
        check_threshold_metric(config, SCORING)
    scoring = replace(SCORING, greater_is_better={"n_predicted": greater})
    check_threshold_metric(config, scoring)
    n = [n_predicted(Y, Y_SCORE, t < Y_SCORE) for t in (expected, 1 - expected)]
    assert (n[0] > n[1]) == greater
    thresholds = tune_thresholds(config, Y, Y_SCORE, scoring)
    assert n_predicted(Y, Y_SCORE, thresholds < Y_SCORE) == n[0]


def test_a_threshold_metric_must_depend_on_thresholds():
    with pytest.raises(
        UserError, match=r"a metric of predicted labels.*'roc_auc_macro', a metric of"
    ):
        check_threshold_metric(decision("per_label", "roc_auc_macro"), SCORING)
    check_threshold_metric(decision(0.5, "roc_auc_macro"), SCORING)
    check_threshold_metric(decision("global", "jaccard_samples"), SCORING)
