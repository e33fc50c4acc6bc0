"""Differences by label against scikit-learn's scores and SciPy's tests."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score

from pipeline.commands import compare as command
from pipeline.comparison.label_differences import compare_labels, describe_labels
from pipeline.errors import UserError
from pipeline.scoring.held_out import StoredPredictions, join
from tests.command_runner import CommandRunner

N_ROWS, N_FOLDS = 400, 8
LABELS = ("good", "same", "never")
TEST_FRACTION = 1 / 7


def predict(noise, seed) -> StoredPredictions:
    """Predict three labels, the last of which no row has, with noise of its own for each label."""
    y = (np.random.default_rng(0).random((N_ROWS, 3)) < [0.4, 0.3, 0]).astype(np.int8)
    rng = np.random.default_rng(seed)
    score = np.clip(0.25 + 0.5 * y + rng.normal(0, noise, y.shape), 0, 1).astype(np.float32)
    fold = np.column_stack([np.zeros(N_ROWS, int), np.arange(N_ROWS) % N_FOLDS])
    rows = np.arange(N_ROWS)
    return StoredPredictions(LABELS, fold, rows, None, None, y, score, (score > 0.5).astype("i1"))


FIRST, SECOND = predict([0.2, 0.3, 0.1], 1), predict([0.5, 0.3, 0.1], 2)


def compare(metric, first=(FIRST,), second=(SECOND,)):
    found = compare_labels(first, second, metric, 0.0, test_fraction=TEST_FRACTION, alpha=0.05)
    return {it.label: it for it in found}


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        ("f1", lambda it, rows, k: f1_score(it.y_true[rows, k], it.y_pred[rows, k])),
        (
            "average_precision",
            lambda it, rows, k: average_precision_score(it.y_true[rows, k], it.y_score[rows, k]),
        ),
    ],
)
def test_a_label_has_the_corrected_test_of_its_scores(metric, reference):
    it = compare(metric)["good"]
    folds = [np.flatnonzero(FIRST.fold[:, 1] == fold) for fold in range(N_FOLDS)]
    first, second = (np.array([reference(p, rows, 0) for rows in folds]) for p in (FIRST, SECOND))
    d = first - second
    error = np.sqrt(d.var(ddof=1) * (1 / N_FOLDS + TEST_FRACTION))
    assert (it.first, it.second) == pytest.approx((first.mean(), second.mean()))
    assert it.p == pytest.approx(2 * stats.t.sf(d.mean() / error, N_FOLDS - 1))
    half = stats.t.ppf(0.975, N_FOLDS - 1) * error
    assert it.ci == pytest.approx((d.mean() - half, d.mean() + half))
    assert it.n_true == FIRST.y_true[:, 0].sum()


def test_labels_are_adjusted_together_and_counted():
    labels = compare("average_precision")
    assert np.isnan(labels["never"].advantage)
    assert labels["never"].n_folds == 0
    assert labels["good"].p_holm == pytest.approx(2 * labels["good"].p)
    assert labels["good"].p_fdr == pytest.approx(2 * labels["good"].p)
    assert describe_labels([*labels.values()], "a", "b", 0.05) == (
        '"a" against "b": better on 1, worse on 0, undecided on 1, undefined on 1 (Holm p < 0.05; '
        "1 differ at a false discovery rate of 0.05)."
    )


def test_the_same_predictions_do_not_differ():
    for it in compare("f1", second=(FIRST,)).values():
        assert (it.p_holm, it.ci) == (1.0, None)


def test_seeds_are_averaged():
    both = compare("f1", first=(FIRST, SECOND))["good"]
    one, other = (compare("f1", first=(it,))["good"].first for it in (FIRST, SECOND))
    assert both.first == pytest.approx((one + other) / 2)


def test_joined_predictions_are_one_after_the_other():
    assert np.array_equal(join([FIRST, SECOND]).row, np.tile(np.arange(N_ROWS), 2))


def test_other_labels_are_refused():
    others = StoredPredictions(
        ("a", "b", "c"), FIRST.fold, FIRST.row, None, None, *(FIRST.y_true,) * 3
    )
    with pytest.raises(UserError, match="the same labels"):
        compare("f1", second=(others,))


def test_the_command_compares_runs_by_label(tmp_path, monkeypatch):
    store = CommandRunner(tmp_path)
    quick = ("dataset.n_samples=80", "dataset.predict_rows=[]", "report=none", "cv.n_splits=4")
    store.run_here("--multirun", "model=knn,dummy,logistic", "cv.n_repeats=1", *quick)
    jobs, parent = store.jobs_and_parent()
    arguments = [f"tracking.uri={store.uri}", "--figure", str(tmp_path / "figure.png")]
    pair = [job.info.run_id for job in jobs[:2]]
    assert command.main([*pair, "--labels", "roc_auc", *arguments]) == 0
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert command.main([parent.info.run_id, "--labels", "f1", *arguments]) == 2
