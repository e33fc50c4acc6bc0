"""Scores of a fold, metrics by name, and the user's own metrics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from pipeline.config.schema import ScoringConfig
from pipeline.decision.rule import DecisionRule
from pipeline.errors import UserError
from pipeline.scoring.own_metrics import own_directions
from pipeline.scoring.probabilities import check_probabilities
from pipeline.scoring.scorer import (
    check_directions,
    check_metrics,
    label_scores,
    lower_is_better,
    metric_range,
    metric_title,
    score,
)

Y_TRUE = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]], dtype=np.int8)
Y_SCORE = np.array([[0.9, 0.2, 0.8], [0.1, 0.7, 0.6], [0.2, 0.1, 0.3], [0.4, 0.9, 0.1]], "float32")


def scoring(*metrics, zero_division=0.0, **greater_is_better):
    return ScoringConfig(
        metrics=metrics,
        greater_is_better=greater_is_better,
        zero_division=zero_division,
        weighted=False,
    )


def scored(config, y_true, y_score, threshold=0.5):
    """Score the predictions of a threshold."""
    n_labels = y_true.shape[1]
    rule = DecisionRule(np.ones(n_labels), np.full(n_labels, threshold))
    return score(config, y_true, y_score, rule.decide(y_score))


def test_a_table_worked_by_hand():
    # Wrong: label 3 of row 2 (0.6 for a 0) and label 1 of row 4 (0.4 for a 1); 4 hits of 5 and 5.
    # F1 of labels: 2 * 1 / (2 + 1), 1, 2 * 1 / (1 + 2).
    names = ("accuracy", "hamming_loss", "f1_micro", "f1_macro", "label_ranking_average_precision")
    assert scored(scoring(*names), Y_TRUE, Y_SCORE).values == {
        "accuracy": 2 / 4,
        "hamming_loss": 2 / 12,
        "f1_micro": 2 * 4 / (5 + 5),
        "f1_macro": (2 / 3 + 1 + 2 / 3) / 3,
        # Row 4 ranks its labels 1 and 2; row 3, without labels, counts 1.
        "label_ranking_average_precision": 1.0,
    }


@given(
    arrays(np.int8, (9, 4), elements=st.integers(0, 1)),
    arrays(np.float32, (9, 4), elements=st.floats(0, 1, width=32)),
    st.floats(0.05, 0.95),
)
def test_the_threshold_of_the_configuration_decides(y_true, y_score, threshold):
    scores = scored(scoring("accuracy", "hamming_loss"), y_true, y_score, threshold)
    y_pred = (y_score > np.float64(threshold)).astype(int)
    assert scores.values["accuracy"] == pytest.approx(sk.accuracy_score(y_true, y_pred))
    assert scores.values["hamming_loss"] == pytest.approx(sk.hamming_loss(y_true, y_pred))


@given(arrays(np.float32, (20, 3), elements=st.floats(0, 1, width=32)))
def test_the_threshold_one_half_rounds(y_score):
    rule = DecisionRule(np.ones(3), np.full(3, 0.5))
    np.testing.assert_array_equal(rule.decide(y_score), y_score.round())


def test_zero_division_is_the_configurations():
    nothing_predicted = np.zeros_like(Y_TRUE), np.zeros_like(Y_SCORE)
    for zero_division in (0.0, 1.0):
        config = scoring("f1_micro", "jaccard_samples", zero_division=zero_division)
        values = scored(config, *nothing_predicted).values
        assert values == {"f1_micro": zero_division, "jaccard_samples": zero_division}


def test_undefined_labels_are_skipped_and_counted():
    y_true = Y_TRUE.copy()
    y_true[:, 1], y_true[:, 2] = 1, 0  # one always present, one never
    config = scoring("accuracy", "roc_auc_macro", "average_precision_macro")
    scores = scored(config, y_true, Y_SCORE)
    assert scores.n_undefined_labels == {"roc_auc_macro": 2, "average_precision_macro": 1}
    assert scores.values["roc_auc_macro"] == sk.roc_auc_score(y_true[:, 0], Y_SCORE[:, 0])
    assert scores.values["average_precision_macro"] == (1 + 1) / 2
    undefined = scored(config, np.zeros_like(Y_TRUE), Y_SCORE)
    assert np.isnan(undefined.values["roc_auc_macro"])
    assert undefined.n_undefined_labels == {}
    assert scored(scoring("accuracy"), y_true, Y_SCORE).n_undefined_labels == {}


def test_scores_of_single_labels():
    config, y_pred = scoring("accuracy", zero_division=1.0), (Y_SCORE > 0.5).astype(np.int8)
    scores = label_scores(config.zero_division, Y_TRUE, Y_SCORE, y_pred)
    assert scores["support"].tolist() == [2, 2, 1]
    assert scores["precision"].tolist() == [1, 1, 1 / 2]
    assert scores["recall"].tolist() == [1 / 2, 1, 1]
    assert scores["f1"] == pytest.approx([2 / 3, 1, 2 / 3])
    assert scores["roc_auc"].tolist() == [1, 1, 1]
    nothing_predicted = label_scores(config.zero_division, Y_TRUE * 0, Y_SCORE * 0, y_pred * 0)
    assert nothing_predicted["f1"].tolist() == [1, 1, 1]
    assert np.isnan(nothing_predicted["average_precision"]).all()


def test_unequal_shapes_are_an_error():
    with pytest.raises(ValueError, match="Expected equal shapes"):
        score(scoring("accuracy"), Y_TRUE, Y_SCORE[:, :2], Y_TRUE)


def test_probabilities_of_diverged_folds_are_rejected():
    y_score = Y_SCORE.copy()
    y_score[1:3, 0] = np.nan
    with pytest.raises(UserError, match=r"NaN for 2 of 4 held-out rows: the training of a fold"):
        check_probabilities(y_score)


@pytest.mark.parametrize(("value", "expected"), [(-0.25, "from -0.25 to"), (95.0, "to 95, outs")])
def test_values_outside_of_probabilities_are_rejected(value, expected):
    y_score = Y_SCORE.copy()
    y_score[1, 0] = value
    with pytest.raises(UserError, match=rf"in \[0, 1\]\. .*{expected}.* 1 of 4 held-out rows"):
        check_probabilities(y_score)
    y_score[1, 0] = 1 + 1e-7  # rounding
    check_probabilities(y_score)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("acuracy", "Did you mean 'accuracy'? Available: accuracy, average_precision_micro|macro,"),
        ("accuracy_score", "Did you mean 'accuracy'?"),
        ("precison_at_7", "Did you mean 'precision_at_7'?"),
        ("precision_at_0", "Did you mean 'precision_at_1'?"),
        ("ndcg", "Did you mean 'ndcg_at_1'?"),
        ("f1", "f1_samples|micro|macro|weighted,"),
        ("f1_macr", "Did you mean 'f1_macro'?"),
        ("hamming", "ndcg_at_<k>, one_error, precision_at_<k>,"),
        ("x", "Or the dotted path of your own: my_module.my_metric"),
    ],
)
def test_unknown_metrics_are_rejected_with_suggestions(name, hint):
    with pytest.raises(UserError) as error:
        check_metrics(scoring("accuracy", name))
    assert str(error.value).startswith(f"scoring.metrics: unknown name {name!r}. ")
    assert hint in str(error.value)


@pytest.mark.parametrize("names", [("accuracy", "accuracy"), ("accuracy", "my.own.accuracy")])
def test_duplicate_metrics_are_rejected(names, monkeypatch, tmp_path):
    (tmp_path / "my").mkdir()
    (tmp_path / "my/own.py").write_text("def accuracy(y_true, y_score, y_pred): return 1.0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"expected each name once. Received: 'accuracy' twice"):
        check_metrics(scoring(*names))


def test_the_configured_metrics_exist(make_config):
    short, full = make_config().scoring, make_config("scoring=all_metrics").scoring
    for config in (short, full):
        check_metrics(config)
        assert config.metrics[0] == "accuracy"
    assert set(short.metrics) < set(full.metrics)
    assert full.zero_division == short.zero_division


def test_zero_division_is_zero_or_one(make_config):
    assert make_config("scoring.zero_division=1").scoring.zero_division == 1.0
    with pytest.raises(UserError, match=r"zero_division: expected 0\.0 or 1\.0\. Received: 0\.5"):
        make_config("scoring.zero_division=0.5")


def largest_set(y_true, y_score, y_pred):
    """A metric of the user's own."""
    return y_pred.sum(axis=1).max()


def returns_text(y_true, y_score, y_pred):
    return "good"


def returns_array(y_true, y_score, y_pred):
    return (y_true == y_pred).mean(axis=0)


def returns_bool(y_true, y_score, y_pred):
    return (y_true == y_pred).all()


def raises(y_true, y_score, y_pred):
    return y_true.no_such


def changes_inputs(y_true, y_score, y_pred):
    y_score *= 2
    return 1.0


def test_own_metrics_are_scored_under_their_short_name():
    config = scoring("accuracy", "tests.test_scorer.largest_set")
    check_metrics(config)
    assert scored(config, Y_TRUE, Y_SCORE).values == {"accuracy": 0.5, "largest_set": 2.0}


@pytest.mark.parametrize(
    ("name", "received"),
    [
        ("returns_text", "str."),
        ("returns_array", "ndarray of shape (3,)."),
        ("returns_bool", "bool"),
        ("raises", "AttributeError: 'numpy.ndarray' object has no attribute 'no_such' ("),
        ("changes_inputs", "ValueError: output array is read-only ("),
    ],
)
def test_own_metrics_must_return_a_number(name, received):
    with pytest.raises(UserError) as error:
        scored(scoring(f"tests.test_scorer.{name}"), Y_TRUE, Y_SCORE.copy())
    expected = f"scoring.metrics: expected tests.test_scorer.{name}(y_true, y_score, y_pred) to"
    assert str(error.value).startswith(expected)
    assert f"Received: {received}" in str(error.value)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("no_such_module.metric", "No module named 'no_such_module'"),
        ("tests.test_scorer.no_such", "has no attribute 'no_such'"),
        ("tests.test_scorer.Y_TRUE", r"expected a callable\. Received: .* a ndarray"),
    ],
)
def test_own_metrics_must_be_importable(path, expected):
    with pytest.raises(UserError, match=rf"^scoring\.metrics: .*{expected}"):
        check_metrics(scoring("accuracy", path))


def check_own(config):
    check_directions(config.greater_is_better, config.metrics)


@pytest.mark.parametrize("name", ["rmse", "mae", "hamming_distance", "accuracy", "lossless"])
def test_the_direction_of_an_own_metric_is_set(name):
    with pytest.raises(UserError) as error:
        check_own(scoring("accuracy", f"my.{name}"))
    message = str(error.value)
    assert message.startswith(f"scoring.greater_is_better: missing for my.{name}, ")
    assert f"Add 'scoring.greater_is_better={{{name}: true}}' if higher" in message
    for greater in (False, True):
        config = scoring("accuracy", f"my.{name}", **{name: greater})
        check_own(config)
        assert lower_is_better(f"my.{name}", config.greater_is_better) != greater
        logged = {f"scoring.greater_is_better.{name}": str(greater), "scoring.metrics": "[]"}
        assert own_directions(logged) == config.greater_is_better


def test_the_direction_of_an_own_metric_follows_scikit_learns_names():
    config = scoring("my.own_score", "my.own_loss", "my.own_error")
    check_own(config)
    assert [lower_is_better(name, {}) for name in config.metrics] == [False, True, True]
    check_own(scoring("my.own_loss", own_loss=True))
    assert not lower_is_better("my.own_loss", {"own_loss": True})


@pytest.mark.parametrize("name", ["hamming_loss", "accuracy", "rmes"])
def test_no_other_direction_is_set(name):
    with pytest.raises(UserError, match=rf"of your own metrics.*: rmse\. Received: '{name}'"):
        check_own(scoring("accuracy", "hamming_loss", "my.rmse", rmse=False, **{name: True}))


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("hamming_loss", "Hamming loss"),
        ("f1_micro", "F1 micro"),
        ("roc_auc_macro", "ROC AUC macro"),
        ("ndcg_at_3", "nDCG at 3"),
    ],
)
def test_titles(name, title):
    assert metric_title(name) == title


def test_ranges_of_metrics():
    assert metric_range("accuracy") == metric_range("ndcg_at_3") == (0, 1)
    assert metric_range("log_loss") == metric_range("coverage_error") == (0, np.inf)
    assert metric_range("my_module.accuracy") == (-np.inf, np.inf)
