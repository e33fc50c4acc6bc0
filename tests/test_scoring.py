import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics as sk

from pipeline.config import ScoringConfig
from pipeline.errors import UserError
from pipeline.scoring import METRICS, apply_threshold, refuse_unknown_metrics, score, summarise

Y_TRUE = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]], dtype=np.int8)
Y_SCORE = np.array([[0.9, 0.2, 0.8], [0.1, 0.7, 0.6], [0.2, 0.1, 0.3], [0.4, 0.9, 0.1]], "float32")
ALL = ScoringConfig(threshold=0.5, metrics=tuple(METRICS))


def test_a_table_worked_by_hand():
    # Wrong: label 3 of row 2 (0.6 for a 0) and label 1 of row 4 (0.4 for a 1); 4 hits of 5 and 5.
    assert score(ALL, Y_TRUE, Y_SCORE) == {
        "accuracy": 2 / 4,
        "hamming_loss": 2 / 12,
        "f1_micro": 2 * 4 / (5 + 5),
        # Row 4 ranks its labels 1 and 2; row 3, without labels, counts 1.
        "label_ranking_average_precision": 1.0,
    }


@given(
    arrays(np.int8, (9, 4), elements=st.integers(0, 1)),
    arrays(np.float32, (9, 4), elements=st.floats(0, 1, width=32)),
    st.floats(0.05, 0.95),
)
def test_agrees_with_scikit_learn(y_true, y_score, threshold):
    scores = score(ScoringConfig(threshold=threshold, metrics=tuple(METRICS)), y_true, y_score)
    y_pred = (y_score > threshold).astype(int)
    assert scores["accuracy"] == pytest.approx(sk.accuracy_score(y_true, y_pred))
    assert scores["hamming_loss"] == pytest.approx(sk.hamming_loss(y_true, y_pred))


@given(arrays(np.float32, (20, 3), elements=st.floats(0, 1, width=32)))
def test_the_threshold_one_half_rounds(y_score):
    np.testing.assert_array_equal(apply_threshold(y_score, 0.5), y_score.round())


def test_the_interval_is_that_of_nadeau_and_bengio():
    values = np.array([0.80, 0.84, 0.79, 0.83, 0.81, 0.82, 0.85, 0.78, 0.80, 0.83])
    summary = summarise(values, test_share=1 / 9)
    assert summary.mean == pytest.approx(0.815)
    assert summary.std == pytest.approx(values.std(ddof=0))
    standard_error = np.sqrt((1 / 10 + 1 / 9) * values.var(ddof=1))
    low, high = stats.t.interval(0.95, df=9, loc=0.815, scale=standard_error)
    assert summary.ci == pytest.approx((low, high))
    naive = stats.t.interval(0.95, df=9, loc=0.815, scale=values.std(ddof=1) / np.sqrt(10))
    assert high - low > naive[1] - naive[0]


def test_a_single_fold_has_no_interval():
    assert summarise([0.8], 0.1).ci is None


def test_unequal_shapes_are_an_error():
    with pytest.raises(ValueError, match="Expected equal shapes"):
        score(ALL, Y_TRUE, Y_SCORE[:, :2])


def test_unknown_metrics_are_refused_with_the_known():
    with pytest.raises(UserError, match=r"'acuracy'\. Did you mean 'accuracy'\?"):
        refuse_unknown_metrics(ScoringConfig(threshold=0.5, metrics=("acuracy",)))
