"""Expected score of the best configuration: against a plain loop, and on made-up sweeps."""

import numpy as np
import pytest

from benchmarks.selection import simulate
from pipeline.comparison import selection
from pipeline.comparison.selection import bootstrap_weights, expected_scores
from pipeline.scoring.resampled import HeldOutPredictions
from pipeline.scoring.scorer import find_metric
from pipeline.tracking.run_reader import to_record
from pipeline.tracking.store import OUTDATED
from tests.command_runner import CommandRunner

N_ROWS, N_CONFIGURATIONS = 60, 6


def make_configurations(n=N_CONFIGURATIONS, n_rows=N_ROWS):
    rng = np.random.default_rng(3)
    y = (rng.random((n_rows, 3)) < 0.4).astype(np.int8)
    rows = np.arange(n_rows)
    scores = [np.clip(0.2 * y + rng.random(y.shape), 0, 1).astype(np.float32) for _ in range(n)]
    return [HeldOutPredictions(y, s, (s > 0.6).astype(np.int8), rows, rows) for s in scores]


@pytest.mark.parametrize("deviation", [0, 0.05])
@pytest.mark.parametrize(("first", "minimize"), [("accuracy", False), ("log_loss", True)])
def test_the_estimate_is_that_of_a_plain_loop(first, minimize, deviation):
    """The ranking is by scores that deviate from those on all rows, as means over folds do."""
    configurations = make_configurations()
    metrics = {first: 0.5, "f1_macro": 0.45}

    def score(name, i, rows):
        one = configurations[i]
        metric = find_metric(name, 0.0)
        return metric(one.y_true[rows], one.y_score[rows], one.y_pred[rows])

    pick = min if minimize else max
    deviations = np.random.default_rng(1).normal(0, deviation, N_CONFIGURATIONS)
    ranked = [score(first, i, np.arange(N_ROWS)) + deviations[i] for i in range(N_CONFIGURATIONS)]
    order = np.argsort(ranked if minimize else np.negative(ranked), kind="stable")
    configurations = [configurations[i] for i in order]
    deviations, ranked = deviations[order], np.array(ranked)[order].tolist()
    values = expected_scores(
        ranked, configurations.__getitem__, metrics, minimize=minimize, zero_division=0.0
    )
    best = 0
    of_chosen, of_best = {name: [] for name in metrics}, {name: [] for name in metrics}
    chosen = set()
    inside = bootstrap_weights(N_ROWS)[1:501].astype(int)
    for weights in inside:
        rows = np.repeat(np.arange(N_ROWS), weights)
        i = pick(
            range(N_CONFIGURATIONS), key=lambda i: round(score(first, i, rows) + deviations[i], 12)
        )
        chosen.add(i)
        for name in metrics:
            of_chosen[name].append(score(name, i, np.flatnonzero(weights == 0)))
            of_best[name].append(score(name, best, np.flatnonzero(weights == 0)))
    assert len(chosen) > 2
    for value, (name, mean) in zip(values, metrics.items(), strict=True):
        shift = mean - np.mean(of_best[name])
        expected = [np.mean(of_chosen[name]), *np.quantile(of_chosen[name], [0.025, 0.975])]
        assert (value.metric, value.best) == (name, mean)
        assert [value.mean, *value.ci] == pytest.approx(np.array(expected) + shift, abs=1e-6)


def test_equal_configurations_leave_the_score_as_it_is():
    same = make_configurations(1) * 4
    (value,) = expected_scores(
        [0.3] * 4, same.__getitem__, {"accuracy": 0.3}, minimize=False, zero_division=0.0
    )
    assert value.mean == pytest.approx(0.3)
    assert value.ci[0] < 0.3 < value.ci[1]


def test_the_interval_stays_within_the_range_of_the_metric():
    (value,) = expected_scores(
        [0.99, 0.98],
        make_configurations().__getitem__,
        {"accuracy": 0.99},
        minimize=False,
        zero_division=0.0,
    )
    assert value.ci[1] == 1.0


def test_too_many_predictions_are_not_read():
    reads = []
    (one, *_) = make_configurations(1)

    def read(index):
        reads.append(index)
        return one

    n = selection.MAX_CELLS_CURVES // (one.y_true.size * selection.MIN_RESAMPLES) + 1
    scores = [0.5] * n
    assert (
        expected_scores(scores, read, {"roc_auc_macro": 0.5}, minimize=False, zero_division=0.0)
        == []
    )
    assert reads == [0]


def test_it_is_less_biased_than_the_best_mean_and_covers_the_truth():
    """A small part of benchmarks/selection.py."""
    result = simulate("equal", 20, n_tables=40)
    assert result["naive"][0] > 0.03
    assert abs(result["bootstrap"][0]) < 0.015
    assert result["bootstrap"][1] >= 0.9


QUICK = (
    *("--multirun", "model=knn", "dataset.n_samples=80", "dataset.predict_rows=[]"),
    *("report=none", "cv.n_splits=4"),
)


@pytest.fixture
def store(tmp_path) -> CommandRunner:
    return CommandRunner(tmp_path)


def test_a_sweep_shows_and_logs_what_to_expect_of_its_best_job(store):
    settings = ("model.params.n_neighbors=1,3,9", "cv.n_repeats=2")
    out, _ = store.run_here(*QUICK, *settings)
    _, parent = store.jobs_and_parent()
    best, expected, low, high = (
        parent.data.metrics[name]
        for name in (
            "best/accuracy_mean",
            "expected/accuracy_mean",
            "expected/accuracy_ci_low",
            "expected/accuracy_ci_high",
        )
    )
    assert low < expected <= best + 1e-9 < high + 0.1
    line = f"Best {best:.3f}; expected of the chosen one: {expected:.3f} ({low:.3f} to {high:.3f})"
    assert line in " ".join(out.split())
    metrics = [name for name in parent.data.metrics if name.startswith("expected/")]
    assert len(metrics) == 3 * 5


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        (["seed=1,2"], "One configuration finished, so there was nothing to choose."),
        (
            ["cv.random_state=1,2"],
            "What the best configuration may score on new rows cannot be estimated: no other "
            "has the same folds.",
        ),
    ],
)
def test_without_a_choice_there_is_a_sentence_and_no_number(store, settings, note):
    out, _ = store.run_here(*QUICK, "cv.n_repeats=1", *settings)
    assert note in " ".join(out.split())
    assert "expected of the chosen one" not in out
    _, parent = store.jobs_and_parent()
    assert not [name for name in parent.data.metrics if name.startswith("expected/")]


def test_a_failure_of_the_estimate_leaves_the_leaderboard(store, monkeypatch):
    def fail(path):
        raise OSError("the bucket is gone")

    sweep = (*QUICK, "model.params.n_neighbors=1,3", "cv.n_repeats=1")
    with monkeypatch.context() as failing:
        failing.setattr("pipeline.tracking.artifact_reader.read_predictions", fail)
        out, _ = store.run_here(*sweep)
    out = " ".join(out.split())
    assert "cannot be estimated: Expected a run with the file predictions.parquet." in out
    assert "(the bucket is gone)" in out
    _, parent = store.jobs_and_parent()
    assert "best/accuracy_mean" in parent.data.metrics
    assert OUTDATED not in parent.data.tags

    store.run_here(*sweep, "resume=true")
    _, parent = store.jobs_and_parent()
    assert "expected/accuracy_mean" in to_record(parent).metrics
    monkeypatch.setattr("pipeline.tracking.artifact_reader.read_predictions", fail)
    store.run_here(*sweep, "resume=true")
    _, parent = store.jobs_and_parent()
    assert "expected/accuracy_mean" in parent.data.tags[OUTDATED].split()
    metrics = to_record(parent).metrics
    assert "best/accuracy_mean" in metrics
    assert not [name for name in metrics if name.startswith("expected/")]
    monkeypatch.undo()
    store.run_here(*sweep, "resume=true")
    _, parent = store.jobs_and_parent()
    assert parent.data.tags[OUTDATED] == ""
    assert "expected/accuracy_mean" in to_record(parent).metrics
