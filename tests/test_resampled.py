"""Metrics on weighted samples against the same metrics on rows repeated one by one."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.scoring.resampled import HeldOutPredictions, weighted_scores
from pipeline.scoring.scorer import BASIC_METRICS, CURVE_METRICS, RATIO_METRICS, find_metric

METRICS = (*BASIC_METRICS, *RATIO_METRICS, *CURVE_METRICS, "precision_at_2", "ndcg_at_3")
NOT_BY_ROW = {"expected_calibration_error"}
N_ROWS, N_LABELS, N_SAMPLES = 40, 4, 8


def own_score(y_true, y_score, y_pred):
    return float(np.abs(y_true - y_score).max(axis=1).mean())


def predict(n_repeats: int, *, seed: int = 0, n_units: int = N_ROWS) -> HeldOutPredictions:
    """Make predictions with ties, a rare label, and rows without a label."""
    rng = np.random.default_rng(seed)
    y = (rng.random((N_ROWS, N_LABELS)) < [0.5, 0.3, 0.3, 0.05]).astype(np.int8)
    row = np.concatenate([rng.permutation(N_ROWS) for _ in range(n_repeats)])
    y_score = (0.3 * y[row] + 0.7 * rng.random((len(row), N_LABELS))).round(1).astype(np.float32)
    unit = np.arange(N_ROWS) % n_units
    return HeldOutPredictions(y[row], y_score, (y_score > 0.45).astype(np.int8), row, unit)


def draw_weights(n_units: int = N_ROWS) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.multinomial(n_units, np.full(n_units, 1 / n_units), N_SAMPLES).astype(float)


@pytest.mark.parametrize("zero_division", [0.0, 1.0])
@pytest.mark.parametrize("name", [*METRICS, f"{__name__}.own_score"])
def test_weights_are_repeated_rows(name, zero_division):
    predictions, weights = predict(1), draw_weights()
    metric = find_metric(name, zero_division)
    expected = []
    for sample in weights:
        rows = np.repeat(np.arange(N_ROWS), sample.astype(int))
        entries = np.argsort(predictions.row)[rows]
        expected.append(
            metric(
                predictions.y_true[entries],
                predictions.y_score[entries],
                predictions.y_pred[entries],
            )
        )
    scores = weighted_scores(name, zero_division, predictions, weights)
    assert len({*expected}) > 1
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def masked_own_score(y_true, y_score, y_pred, mask, sample_weight=None):
    weight = 1 if sample_weight is None else sample_weight[:, None]
    return float((np.abs(y_true - y_score) * mask * weight).sum() / (mask * weight).sum())


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("name", [*METRICS, f"{__name__}.masked_own_score"])
def test_repeated_rows_with_labels_that_are_not_known(name, is_weighted):
    predictions, weights = predict(1), draw_weights()
    rng = np.random.default_rng(2)
    mask = (rng.random((N_ROWS, N_LABELS)) < [0.9, 0.5, 0.9, 0.7]) | (rng.random((N_ROWS, 1)) < 0.5)
    mask[:4] = False
    mask = mask[predictions.row]
    weight = rng.integers(0, 3, N_ROWS).astype(np.float32) if is_weighted else None
    predictions = replace(predictions, y_true=predictions.y_true * mask, mask=mask, weight=weight)
    metric = find_metric(name, 0.0)
    expected = []
    for sample in weights:
        rows = np.repeat(np.arange(N_ROWS), sample.astype(int))
        entries = np.argsort(predictions.row)[rows]
        tables = (predictions.y_true, predictions.y_score, predictions.y_pred, mask)
        sample_weight = None if weight is None else weight[rows]
        expected.append(metric(*(table[entries] for table in tables), sample_weight))
    scores = weighted_scores(name, 0.0, predictions, weights)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_groups_are_sampled_whole(name):
    n_units = 7
    grouped, single = predict(1, n_units=n_units), predict(1)
    weights = draw_weights(n_units)
    expected = weighted_scores(name, 0.0, single, weights[:, grouped.unit])
    np.testing.assert_allclose(weighted_scores(name, 0.0, grouped, weights), expected, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(BASIC_METRICS.keys() - NOT_BY_ROW | {"f1_samples"}))
def test_means_over_rows_are_means_over_repeats(name):
    predictions = predict(3)
    metric = find_metric(name, 0.0)
    by_repeat = [
        metric(predictions.y_true[part], predictions.y_score[part], predictions.y_pred[part])
        for part in np.arange(3 * N_ROWS).reshape(3, N_ROWS)
    ]
    (score,) = weighted_scores(name, 0.0, predictions, np.ones((1, N_ROWS)))
    assert score == pytest.approx(np.mean(by_repeat))


@pytest.mark.parametrize("name", ["f1_micro", "f1_macro", "roc_auc_macro", "log_loss"])
def test_equal_repeats_change_nothing(name):
    one = predict(1)
    three = HeldOutPredictions(
        *(np.tile(array, (3, 1)) for array in (one.y_true, one.y_score, one.y_pred)),
        row=np.tile(one.row, 3),
        unit=one.unit,
    )
    weights = draw_weights()
    scores = [weighted_scores(name, 0.0, it, weights) for it in (one, three)]
    np.testing.assert_allclose(*scores, rtol=1e-6)


def test_an_undefined_score_is_nan():
    predictions = predict(1)
    empty = np.zeros((1, N_ROWS))
    for name in ("accuracy", "roc_auc_macro", "average_precision_micro", "brier_score"):
        assert np.isnan(weighted_scores(name, 0.0, predictions, empty))
