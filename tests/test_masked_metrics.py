"""Metrics of labels that are partly not known, and of weighted rows, against naive loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from pipeline.config.schema import ScoringConfig
from pipeline.errors import UserError
from pipeline.scoring import check_own_arguments
from pipeline.scoring.scorer import RATIO_METRICS, find_metric, label_scores, score
from tests.test_scoring_metrics import ALL, FUNCTIONS

OF_ROWS = [
    *(name for name in ALL if name.endswith(("_samples", "_1", "_3", "_5"))),
    *("one_error", "coverage_error", "label_ranking_loss", "label_ranking_average_precision"),
]
OF_CELLS = ["hamming_loss", "log_loss", "brier_score", "expected_calibration_error"]


@st.composite
def masked_tables(draw):
    """Draw y_true, y_score, mask and whole weights, with ties and rows or labels not known."""
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 5)))
    mask = draw(arrays(np.bool_, shape))
    y_true = draw(arrays(np.int8, shape, elements=st.integers(0, 1))) * mask
    fine, few = st.floats(0, 1, width=32), st.sampled_from([0.0, 0.125, 0.5, 0.75, 1.0])
    y_score = draw(arrays(np.float32, shape, elements=draw(st.sampled_from([fine, few]))))
    weights = draw(arrays(np.int64, shape[0], elements=st.integers(0, 3)))
    return y_true, y_score, mask, weights.astype(np.float32)


def value(name, y_true, y_score, mask=None, weights=None, zero_division=0.0):
    y_pred = (y_score > 0.5).astype(np.int8)
    return find_metric(name, zero_division)(y_true, y_score, y_pred, mask, weights)


def average(values, weights):
    """Return the weighted mean of the values that are not NaN."""
    values, weights = np.array(values, dtype=float), np.array(weights, dtype=float)
    weights = weights * ~np.isnan(values)
    return np.dot(np.nan_to_num(values), weights) / weights.sum() if weights.any() else np.nan


@pytest.mark.parametrize("name", OF_ROWS)
@settings(max_examples=30)
@given(table=masked_tables(), zero_division=st.sampled_from([0.0, 1.0]))
def test_metrics_of_rows_are_those_of_the_labels_that_a_row_knows(name, table, zero_division):
    y_true, y_score, mask, weights = table
    rows = [
        value(name, y_true[[i]][:, given], y_score[[i]][:, given], zero_division=zero_division)
        if given.any()
        else np.nan
        for i, given in enumerate(mask)
    ]
    expected = average(rows, np.ones(len(rows)))
    result = value(name, y_true, y_score, mask, zero_division=zero_division)
    assert result == pytest.approx(expected, nan_ok=True)
    result = value(name, y_true, y_score, mask, weights, zero_division)
    assert result == pytest.approx(average(rows, weights), nan_ok=True)


@given(masked_tables())
def test_accuracy_is_that_of_the_rows_that_know_every_label(table):
    y_true, y_score, mask, weights = table
    complete = mask.all(axis=1)
    y_pred = y_score[complete] > 0.5
    expected = np.nan
    if complete.any() and weights[complete].any():
        sample_weight = weights[complete]
        expected = sk.accuracy_score(y_true[complete], y_pred, sample_weight=sample_weight)
    assert value("accuracy", y_true, y_score, mask, weights) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("name", RATIO_METRICS)
@settings(max_examples=30)
@given(table=masked_tables(), zero_division=st.sampled_from([0.0, 1.0]))
def test_averages_over_labels_are_those_of_scikit_learn_on_the_cells_that_are_known(
    name, table, zero_division
):
    y_true, y_score, mask, weights = table
    family, kind = name.split("_")
    if kind == "samples":
        return
    y_pred = y_score > 0.5
    cells = mask & (weights > 0)[:, None]
    columns = [(y_true[c, j], y_pred[c, j], weights[c]) for j, c in enumerate(cells.T)]
    if kind == "micro":
        columns = [tuple(np.concatenate(parts) for parts in zip(*columns, strict=True))]
    options = {"zero_division": zero_division, "pos_label": 1}
    values = [
        FUNCTIONS[family](y, p, sample_weight=w, **options) if len(y) else np.nan
        for y, p, w in columns
    ]
    supports = [np.dot(y, w) for y, _, w in columns]
    is_weighted = kind == "weighted" and any(supports)
    expected = average(values, supports if is_weighted else np.ones(len(values)))
    result = value(name, y_true, y_score, mask, weights, zero_division)
    assert result == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("family", ["roc_auc", "average_precision"])
@given(table=masked_tables())
@settings(max_examples=60)
def test_curve_metrics_are_those_of_scikit_learn_on_the_cells_that_are_known(family, table):
    y_true, y_score, mask, weights = table
    function = {"roc_auc": sk.roc_auc_score, "average_precision": sk.average_precision_score}[
        family
    ]
    cells = mask & (weights > 0)[:, None]

    def area(y, scores, sample_weight):
        is_defined = y.any() and (family == "average_precision" or not y.all())
        return function(y, scores, sample_weight=sample_weight) if is_defined else np.nan

    columns = [(y_true[c, j], y_score[c, j], weights[c]) for j, c in enumerate(cells.T)]
    areas = [area(*column) for column in columns]
    y_pred = (y_score > 0.5).astype(np.int8)
    by_label = label_scores(0.0, y_true, y_score, y_pred, mask, weights)[family]
    np.testing.assert_allclose(by_label, areas, atol=1e-9)
    expected = average(areas, np.ones(len(areas)))
    macro = value(f"{family}_macro", y_true, y_score, mask, weights)
    assert macro == pytest.approx(expected, nan_ok=True)
    expected = area(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))
    micro = value(f"{family}_micro", y_true, y_score, mask, weights)
    assert micro == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("name", OF_CELLS)
@settings(max_examples=30)
@given(table=masked_tables())
def test_means_over_cells_are_those_of_the_cells_that_are_known(name, table):
    y_true, y_score, mask, _ = table
    expected = value(name, y_true[mask][:, None], y_score[mask][:, None]) if mask.any() else np.nan
    result = value(name, y_true, y_score, mask)
    assert result == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=20)
@given(table=masked_tables(), masked=st.booleans())
def test_whole_weights_are_repeated_rows(name, table, masked):
    y_true, y_score, mask, weights = table
    rows = np.repeat(np.arange(len(y_true)), weights.astype(int))
    mask = mask if masked else None
    y_true = y_true if masked else (y_score > 0.3).astype(np.int8) ^ y_true
    expected = np.nan
    if len(rows):
        expected = value(name, y_true[rows], y_score[rows], mask[rows] if masked else None)
    result = value(name, y_true, y_score, mask, weights)
    assert result == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=20)
@given(table=masked_tables())
def test_what_is_predicted_where_a_label_is_not_known_does_not_matter(name, table):
    y_true, y_score, mask, weights = table
    flipped = np.where(mask, y_score, 1 - y_score)
    expected = value(name, y_true, y_score, mask, weights)
    assert value(name, y_true, flipped, mask, weights) == pytest.approx(expected, nan_ok=True)


def test_labels_that_no_row_knows_are_skipped_and_counted():
    config = ScoringConfig(
        metrics=("f1_macro", "roc_auc_macro", "accuracy"),
        greater_is_better={},
        zero_division=0.0,
        weighted=False,
    )
    y_true = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 0]], dtype=np.int8)
    mask = np.array([[1, 0, 1], [1, 0, 1], [1, 0, 0]], dtype=bool)
    y_score = np.array([[0.9, 0.9, 0.2], [0.1, 0.1, 0.8], [0.8, 0.9, 0.9]], dtype=np.float32)
    scores = score(config, y_true, y_score, (y_score > 0.5).astype(np.int8), mask)
    assert scores.values["f1_macro"] == scores.values["roc_auc_macro"] == 1
    assert np.isnan(scores.values["accuracy"])
    assert scores.n_undefined_labels == {"f1_macro": 1, "roc_auc_macro": 1}


def masked_metric(y_true, y_score, y_pred, mask):
    return (y_true == y_pred)[mask].mean()


def weighted_metric(y_true, y_score, y_pred, **options):
    return options["sample_weight"].sum()


def plain_metric(y_true, y_score, y_pred):
    return 0.5


def test_own_metrics_get_mask_and_weights_by_name():
    y = np.array([[1, 0], [0, 1]], dtype=np.int8)
    mask = np.array([[True, False], [True, True]])
    y_score = np.array([[0.9, 0.9], [0.9, 0.9]], dtype=np.float32)
    assert value(f"{__name__}.masked_metric", y, y_score, mask) == pytest.approx(2 / 3)
    weights = np.array([1, 2], dtype=np.float32)
    assert value(f"{__name__}.weighted_metric", y, y_score, mask, weights) == 3


@pytest.mark.parametrize(
    ("name", "masked", "weighted", "missing"),
    [
        ("plain_metric", True, False, "mask"),
        ("plain_metric", True, True, "mask and sample_weight"),
        ("masked_metric", False, True, "sample_weight"),
        ("plain_metric", False, False, None),
        ("masked_metric", True, False, None),
        ("weighted_metric", True, True, None),
    ],
)
def test_own_metrics_that_would_ignore_mask_or_weights_are_refused(name, masked, weighted, missing):
    names = ["f1_macro", f"{__name__}.{name}"]
    if missing is None:
        check_own_arguments(names, is_masked=masked, is_weighted=weighted)
        return
    with pytest.raises(UserError, match=rf"Received: a function without {missing}\."):
        check_own_arguments(names, is_masked=masked, is_weighted=weighted)


def test_weights_that_are_lost_in_the_sum_of_others_have_a_precision():
    """The highest score weighs too little to change the sum of the true rows' weights."""
    y_true, y_score = np.array([[1], [0], [1]]), np.array([[0.9], [0.2], [0.5]])
    weights = np.array([1e-20, 1.0, 1.0], dtype=np.float32)
    assert value("average_precision_macro", y_true, y_score, None, weights) == 1.0
