"""Metrics against scikit-learn on random tables, and against tables worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from pipeline.scoring import label_ranking
from pipeline.scoring.label_ranking import (
    label_average_precision,
    label_roc_auc,
)
from pipeline.scoring.scorer import (
    BASIC_METRICS,
    CURVE_METRICS,
    RATIO_METRICS,
    TOP_K_METRICS,
    explain_metric,
    find_metric,
    lower_is_better,
)

FUNCTIONS = {
    "precision": sk.precision_score,
    "recall": sk.recall_score,
    "f1": sk.f1_score,
    "jaccard": sk.jaccard_score,
}
ALL = (
    *BASIC_METRICS,
    *RATIO_METRICS,
    *CURVE_METRICS,
    *(f"{family}_{k}" for family in TOP_K_METRICS for k in (1, 3, 5)),
)


@st.composite
def tables(draw, min_labels=2):
    """Draw y_true and y_score: small ones, so that ties and empty or constant rows are common."""
    shape = (draw(st.integers(1, 12)), draw(st.integers(min_labels, 6)))
    y_true = draw(arrays(np.int8, shape, elements=st.integers(0, 1), fill=st.just(0)))
    fine = st.floats(0, 1, width=32)
    few = st.sampled_from([0.0, 0.125, 0.5, 0.75, 1.0])
    y_score = draw(arrays(np.float32, shape, elements=draw(st.sampled_from([fine, few]))))
    return y_true, y_score


def metric_value(name, y_true, y_score, zero_division=0.0):
    y_pred = (y_score > 0.5).astype(np.int8)
    return find_metric(name, zero_division)(y_true, y_score, y_pred)


@pytest.mark.parametrize("name", RATIO_METRICS)
@settings(max_examples=40)
@given(table=tables(), zero_division=st.sampled_from([0.0, 1.0]))
def test_ratio_metrics_equal_scikit_learn(name, table, zero_division):
    y_true, y_score = table
    family, average = name.split("_")
    expected = FUNCTIONS[family](
        y_true, y_score > 0.5, average=average, zero_division=zero_division
    )
    assert metric_value(name, y_true, y_score, zero_division) == pytest.approx(expected)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(table=tables(), zero_division=st.sampled_from([0.0, 1.0]))
def test_all_averages_of_one_label_are_equal(name, table, zero_division):
    y_true, y_score = table[0][:, :1], table[1][:, :1]
    options = {"pos_label": 1, "zero_division": zero_division}
    expected = FUNCTIONS[name](y_true[:, 0], (y_score > 0.5)[:, 0], **options)
    for average in ("micro", "macro", "weighted"):
        value = metric_value(f"{name}_{average}", y_true, y_score, zero_division)
        assert value == pytest.approx(expected)


@given(tables())
def test_accuracy_and_hamming_loss_equal_scikit_learn(table):
    y_true, y_score = table
    y_pred = y_score > 0.5
    assert metric_value("accuracy", *table) == pytest.approx(sk.accuracy_score(y_true, y_pred))
    assert metric_value("hamming_loss", *table) == pytest.approx(sk.hamming_loss(y_true, y_pred))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("coverage_error", sk.coverage_error),
        ("label_ranking_loss", sk.label_ranking_loss),
        ("label_ranking_average_precision", sk.label_ranking_average_precision_score),
        ("ndcg_at_1", lambda *table: sk.ndcg_score(*table, k=1)),
        ("ndcg_at_3", lambda *table: sk.ndcg_score(*table, k=3)),
        ("ndcg_at_50", lambda *table: sk.ndcg_score(*table, k=50)),
    ],
)
@given(table=tables())
def test_ranking_metrics_equal_scikit_learn(name, function, table):
    assert metric_value(name, *table) == pytest.approx(function(*table), abs=1e-12)


@given(tables(min_labels=1))
def test_curve_metrics_equal_scikit_learn_where_defined(table):
    y_true, y_score = table
    several, some = y_true.min(axis=0) < y_true.max(axis=0), y_true.any(axis=0)
    aucs = label_roc_auc(y_true, y_score)
    precisions = label_average_precision(y_true, y_score)
    np.testing.assert_array_equal(np.isnan(aucs), ~several)
    np.testing.assert_array_equal(np.isnan(precisions), ~some)
    for label in np.flatnonzero(several):
        expected = sk.roc_auc_score(y_true[:, label], y_score[:, label])
        assert aucs[label] == pytest.approx(expected)
    for label in np.flatnonzero(some):
        expected = sk.average_precision_score(y_true[:, label], y_score[:, label])
        assert precisions[label] == pytest.approx(expected)
    mean = aucs[several].mean() if several.any() else np.nan
    assert metric_value("roc_auc_macro", *table) == pytest.approx(mean, nan_ok=True)
    mean = precisions[some].mean() if some.any() else np.nan
    assert metric_value("average_precision_macro", *table) == pytest.approx(mean, nan_ok=True)


@given(tables(min_labels=1))
def test_micro_curve_metrics_rank_the_whole_table(table):
    flat = [values.ravel() for values in table]
    auc = sk.roc_auc_score(*flat) if len(np.unique(flat[0])) == 2 else np.nan
    assert metric_value("roc_auc_micro", *table) == pytest.approx(auc, nan_ok=True)
    precision = sk.average_precision_score(*flat) if flat[0].any() else np.nan
    assert metric_value("average_precision_micro", *table) == pytest.approx(precision, nan_ok=True)


@given(tables(min_labels=1))
def test_log_loss_and_brier_score_are_the_means_of_scikit_learns_over_labels(table):
    y_true, y_score = table
    columns = list(zip(y_true.T, y_score.T, strict=True))
    losses = [sk.log_loss(*column, labels=[0, 1]) for column in columns]
    # scikit-learn clips at the precision of float32, as we do, and sums in it.
    assert metric_value("log_loss", *table) == pytest.approx(np.mean(losses), rel=1e-5, abs=1e-6)
    briers = [((score.astype(float) - true) ** 2).mean() for true, score in columns]
    assert metric_value("brier_score", *table) == pytest.approx(np.mean(briers), abs=1e-6)


@given(tables(), st.randoms(use_true_random=False))
def test_no_metric_depends_on_the_order_of_labels_or_rows(table, random):
    y_true, y_score = table
    rows, labels = list(range(len(y_true))), list(range(y_true.shape[1]))
    random.shuffle(rows)
    random.shuffle(labels)
    shuffled = (y_true[rows][:, labels], y_score[rows][:, labels])
    for name in ALL:
        value = pytest.approx(metric_value(name, *table), nan_ok=True)
        assert metric_value(name, *shuffled) == value, name


@given(tables(min_labels=1))
def test_one_error_is_one_minus_precision_at_1(table):
    assert metric_value("one_error", *table) == pytest.approx(
        1 - metric_value("precision_at_1", *table)
    )


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("fill", [0, 1])
@pytest.mark.parametrize("n_labels", [1, 3])
def test_constant_tables_cause_no_warning(name, fill, n_labels):
    y_true = np.full((4, n_labels), fill, dtype=np.int8)
    for y_score in (np.zeros((4, n_labels), "float32"), np.ones((4, n_labels), "float32")):
        undefined = name.startswith("roc_auc") or (name.startswith("average_") and not fill)
        value = metric_value(name, y_true, y_score)
        assert isinstance(value, float)
        assert np.isnan(value) == undefined


Y_TRUE = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]], dtype=np.int8)
Y_SCORE = np.array([[0.9, 0.2, 0.8], [0.6, 0.7, 0.7], [0.2, 0.1, 0.3], [0.4, 0.9, 0.5]], "float32")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Row 2 ties its true label with another one: half a hit. Row 3 has no label: no hit.
        ("one_error", (0 + 0.5 + 1 + 0) / 4),
        ("precision_at_1", (1 + 0.5 + 0 + 1) / 4),
        ("precision_at_2", (2 / 2 + 1 / 2 + 0 + 1 / 2) / 4),
        ("precision_at_3", (2 / 3 + 1 / 3 + 0 + 2 / 3) / 4),
        ("precision_at_9", (2 / 3 + 1 / 3 + 0 + 2 / 3) / 4),  # there are only 3 labels
        # Rows cover their true labels with 2, 2, 0 and 3 labels.
        ("coverage_error", (2 + 2 + 0 + 3) / 4),
        # Row 2: 1 of 2 pairs, the tie; row 4: 1 of 2.
        ("label_ranking_loss", (0 + 1 / 2 + 0 + 1 / 2) / 4),
        ("label_ranking_average_precision", (1 + 1 / 2 + 1 + (1 + 2 / 3) / 2) / 4),
        # Label 1: 0.9 above both others, 0.4 above one. Label 2: 0.9 and 0.7 above both.
        # Label 3: 0.8 above all three.
        ("roc_auc_macro", (3 / 4 + 1 + 1) / 3),
        ("average_precision_macro", ((1 + 2 / 3) / 2 + 1 + 1) / 3),
        ("brier_score", (0.01 + 0.04 + 0.04 + 0.36 + 0.09 + 0.49 + 0.14 + 0.36 + 0.01 + 0.25) / 12),
    ],
)
def test_a_table_worked_by_hand(name, expected):
    assert metric_value(name, Y_TRUE, Y_SCORE) == pytest.approx(expected)


def test_log_loss_worked_by_hand():
    y_true = np.array([[1, 0]], dtype=np.int8)
    assert metric_value("log_loss", y_true, np.array([[0.5, 0.75]], "float32")) == pytest.approx(
        (np.log(2) + np.log(4)) / 2
    )
    certain = metric_value("log_loss", y_true, np.array([[0, 1]], "float32"))
    assert certain == pytest.approx(-np.log(np.finfo(np.float32).eps))


def test_calibration_worked_by_hand():
    # Bins of 1/15: (0.4, 0.4667] holds 0.42 and 0.45 of which one is true, (0.8, 0.8667] holds
    # 0.82, true, the first bin 0 and 0.05, both false, and the last bin 1, false.
    y_true = np.array([[1, 0, 1], [0, 0, 0]], dtype=np.int8)
    y_score = np.array([[0.42, 0.45, 0.82], [0, 0.05, 1]], "float32")
    expected = (abs(0.87 - 1) + abs(0.82 - 1) + 0.05 + 1) / 6
    assert metric_value("expected_calibration_error", y_true, y_score) == pytest.approx(expected)


def test_a_calibrated_table_has_no_calibration_error():
    y_true = np.repeat([[1], [0], [0], [0]], 25, axis=0).astype(np.int8)
    y_score = np.full((100, 1), 0.25, "float32")
    assert metric_value("expected_calibration_error", y_true, y_score) == pytest.approx(
        0, abs=1e-12
    )


@pytest.mark.parametrize("name", ALL)
def test_perfect_scores_are_better_than_random_ones(name):
    rng = np.random.default_rng(0)
    y_true = (rng.random((200, 6)) < 0.4).astype(np.int8)
    perfect = metric_value(name, y_true, y_true.astype("float32"))
    random = metric_value(name, y_true, rng.random((200, 6), dtype=np.float32))
    assert perfect < random if lower_is_better(name, {}) else perfect > random


def test_random_scores_have_the_expected_curve_metrics():
    rng = np.random.default_rng(0)
    y_true = (rng.random((4000, 3)) < 0.2).astype(np.int8)
    y_score = rng.random((4000, 3), dtype=np.float32)
    assert metric_value("roc_auc_macro", y_true, y_score) == pytest.approx(0.5, abs=0.03)
    assert metric_value("average_precision_micro", y_true, y_score) == pytest.approx(0.2, abs=0.02)


def without_docstring(y_true, y_score, y_pred):
    return 0.0


def with_docstring(y_true, y_score, y_pred):
    """Return a constant.

    And more.
    """
    return 0.0


def test_every_metric_has_an_explanation_of_one_line():
    lines = [explain_metric(name) for name in ALL]
    assert all(line.endswith(".") and line[0].isupper() for line in lines)
    assert explain_metric("precision_at_3").startswith(
        "The fraction of a row's top k labels that are true"
    )
    assert explain_metric("tests.test_scoring_metrics.with_docstring") == "A constant."
    assert explain_metric("tests.test_scoring_metrics.without_docstring") == ""


@given(
    y_true=arrays(np.int8, (12, 4), elements=st.integers(0, 1)),
    y_score=arrays(np.float32, (12, 4), elements=st.sampled_from([0.1, 0.2, 0.3, 0.7, 0.9])),
    mask=st.none() | arrays(bool, (12, 4)),
)
def test_ranked_rows_have_the_scores_of_sorted_ones(y_true, y_score, mask):
    if mask is not None:
        y_true = y_true * mask
    expected = label_ranking.label_ranking_scores(y_true, y_score, mask)
    scores = np.full((2, 4), np.nan)
    for part, ranked, n_others in label_ranking.ranked_parts(y_true, y_score, mask):
        for row in np.flatnonzero(ranked.n_relevant):
            label = part.start + row
            scores[:, label] = label_ranking.ranked_scores(ranked, row, n_others[row])
    never = (y_true == 0).all(axis=0)
    np.testing.assert_array_equal(scores[:, ~never], expected[:, ~never])
    assert np.isnan(expected[:, never]).all()


@pytest.mark.parametrize("is_masked", [False, True])
def test_labels_are_ranked_in_parts_as_together(monkeypatch, is_masked):
    rng = np.random.default_rng(0)
    y_true, y_score = (rng.random((40, 13)) < 0.3).astype(np.int8), rng.random((40, 13)).round(1)
    mask = rng.random(y_true.shape) < 0.8 if is_masked else None
    y_true = y_true if mask is None else y_true * mask
    [(_, together, n_others)] = label_ranking.ranked_parts(y_true, y_score, mask)
    monkeypatch.setattr(label_ranking, "MAX_RANKED", 100)
    parts = [*label_ranking.ranked_parts(y_true, y_score, mask)]
    assert len(parts) == 5
    for part, ranked, others in parts:
        np.testing.assert_array_equal(others, n_others[part])
        for name, values in vars(ranked).items():
            np.testing.assert_array_equal(values, getattr(together, name)[part])


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_a_metric_of_a_few_rows_at_a_time_is_that_of_all(name, is_masked, monkeypatch):
    rng = np.random.default_rng(0)
    y_true = (rng.random((50, 7)) < 0.3).astype(np.int8)
    y_score, mask = rng.random((50, 7), dtype=np.float32), None
    if is_masked:
        mask = rng.random(y_true.shape) < 0.8
        y_true[~mask] = 0
    table = (y_true, y_score, (y_score > 0.5).astype(np.int8), mask)
    for weights in (None, rng.random(50).astype(np.float32)):
        whole = find_metric(name, 0.0)(*table, weights)
        monkeypatch.setattr("pipeline.scoring.classification_metrics.MAX_CELLS", 30)
        assert find_metric(name, 0.0)(*table, weights) == pytest.approx(whole, rel=1e-12)
        monkeypatch.undo()
