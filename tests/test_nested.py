"""Nested cross-validation against scikit-learn's search within cross-validation, and by hand."""

import json
import math
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RepeatedKFold, cross_validate
from sklearn.multioutput import MultiOutputClassifier

from pipeline.commands import leaderboard
from pipeline.comparison import nested
from pipeline.comparison.entries import Criterion
from pipeline.comparison.leaderboard import Leaderboard
from pipeline.comparison.nested import score_nested
from pipeline.console.leaderboard_tables import describe_nested
from pipeline.errors import UserError
from pipeline.evaluation.checkpoint import Checkpoint
from pipeline.tracking.run_reader import RunRecord
from tests.command_runner import CommandRunner, artifact
from tests.test_leaderboard import failed, finished

PENALTIES = [0.002, 0.05, 1.0]
FOLDS = ("cv.n_splits=3", "cv.n_repeats=1", "cv.outer_splits=3", "cv.outer_repeats=2")
METRICS = "scoring.metrics=[accuracy,f1_micro]"


@pytest.fixture(scope="module")
def noisy_rows():
    """Rows on which several penalties are about equally good."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(120, 8)).astype(np.float32)
    y = (X[:, :3] + 1.5 * rng.normal(size=(120, 3)) > 0).astype(np.int8)
    return X, y


@pytest.fixture(scope="module")
def command(tmp_path_factory, noisy_rows):
    path = tmp_path_factory.mktemp("data") / "noisy.npz"
    np.savez(path, X=noisy_rows[0], y=noisy_rows[1])
    return (
        *("--multirun", "model=logistic", f"model.params.C={','.join(map(str, PENALTIES))}"),
        *("dataset=npz", f"dataset.path={path}", "dataset.predict_rows=[]", "report=none"),
        *("preprocessing=none", METRICS, *FOLDS),
    )


def interrupt_after(monkeypatch, n_folds):
    """Interrupt the program when it has saved so many folds."""
    save, saved = Checkpoint.save, []

    def save_or_interrupt(self, fold, elapsed):
        if len(saved) == n_folds:
            monkeypatch.undo()
            raise KeyboardInterrupt
        saved.append(fold)
        return save(self, fold, elapsed)

    monkeypatch.setattr(Checkpoint, "save", save_or_interrupt)


def read_table(run, name):
    table = json.loads(artifact(run, name).read_text())
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def test_an_interrupted_sweep_chooses_like_scikit_learns_search_inside_its_cross_validation(
    tmp_path, noisy_rows, command, monkeypatch, capsys
):
    store = CommandRunner(tmp_path)
    interrupt_after(monkeypatch, 27 + 17)  # the second job within its nested folds
    store.run_here(*command, "resume=true", code=130)
    out, _ = store.run_here(*command, "resume=true")
    assert "reused finished run" in out
    assert "17 of 27 folds are finished" in " ".join(out.split())

    X, y = noisy_rows
    estimator = MultiOutputClassifier(LogisticRegression(max_iter=1000))
    inner = RepeatedKFold(n_splits=3, n_repeats=1, random_state=1)
    outer = RepeatedKFold(n_splits=3, n_repeats=2, random_state=1 + 2**31)
    search = GridSearchCV(estimator, {"estimator__C": PENALTIES}, scoring="accuracy", cv=inner)
    scorers = ["accuracy", "f1_micro"]
    theirs = cross_validate(search, X, y, cv=outer, scoring=scorers, return_estimator=True)
    chosen = [it.best_params_["estimator__C"] for it in theirs["estimator"]]
    assert len(set(chosen)) > 1

    _, parent = store.jobs_and_parent()
    rows = read_table(parent, "nested.json")
    assert [row["configuration"] for row in rows] == [f"model.params.C={C}" for C in chosen]
    assert [row["inner_score"] for row in rows] == [it.best_score_ for it in theirs["estimator"]]
    assert [row["accuracy"] for row in rows] == theirs["test_accuracy"].tolist()
    np.testing.assert_allclose([row["f1_micro"] for row in rows], theirs["test_f1_micro"])
    metrics = parent.data.metrics
    assert metrics["nested/accuracy_mean"] == theirs["test_accuracy"].mean()
    variance = theirs["test_accuracy"].var(ddof=1) * (1 / 6 + 1 / 2)  # Nadeau and Bengio
    half = 2.570582 * variance**0.5  # of Student's t with 5 degrees of freedom
    low, high = metrics["nested/accuracy_ci_low"], metrics["nested/accuracy_ci_high"]
    np.testing.assert_allclose((high - low) / 2, half, rtol=1e-6)

    final = search.fit(X, y).best_params_["estimator__C"]
    assert parent.data.tags["best"] == f"model.params.C={final}"
    lines = [f"{chosen.count(C)} of 6" for C in {*chosen, final}]
    capsys.readouterr()
    assert leaderboard.main([parent.info.run_id, f"tracking.uri={store.uri}"]) == 0
    for text in (out, capsys.readouterr().out):
        assert f"Nested cross-validation, 6 outer folds. Accuracy: {low + half:.3f}" in text
        assert all(line in text for line in lines)
        assert [
            line for line in text.splitlines() if "the final one" in line and str(final) in line
        ]


def outer_table(*folds, metric="accuracy"):
    """Return the table of a run from the inner mean and the outer score of each outer fold."""
    return [
        {
            "repeat": 0,
            "fold": number,
            "n_train": 20,
            "n_test": 10,
            metric: score,
            f"inner_{metric}_mean": inner,
            f"inner_{metric}_ci_low": inner and inner - 0.1 * (number + 1),
        }
        for number, (inner, score) in enumerate(folds)
    ]


@pytest.fixture
def choose(monkeypatch):
    """Return the nested scores of jobs, given the table of each."""

    def call(entries, tables, params=(), **arguments):
        record = RunRecord(
            *("", "", "", "FINISHED", 0, None),
            params=dict(params),
            tags={"split_digest": "", "data_digest": ""},
            metrics={},
        )
        run = SimpleNamespace(record=lambda: record)
        monkeypatch.setattr(nested, "TrackedRun", lambda run_id: run)
        entries = [replace(entry, nested_digest=entry.nested_digest or "same") for entry in entries]
        by_run = {f"{number:032x}": table for number, table in enumerate(tables)}
        monkeypatch.setattr(nested, "read_outer_folds", by_run.get)
        return score_nested(Leaderboard(entries, len(entries), **arguments))

    return call


def test_seeds_are_averaged_and_the_first_of_equal_configurations_is_chosen(choose):
    settings = [{"width": w, "seed": s} for w in "ab" for s in "01"]
    entries = [finished(n, 0.5 + n / 100, settings=it) for n, it in enumerate(settings)]
    scores = choose(
        entries,
        [
            outer_table((0.75, 0.5), (0.5, 0.25), (0.5, 0.75)),
            outer_table((0.25, 1.0), (0.5, 0.75), (0.25, 0.25)),
            outer_table((0.5, 0.0), (1.0, 0.5), (0.25, 0.0)),  # on average like the other at first
            outer_table((0.5, 0.0), (0.0, 1.0), (0.75, 1.0)),
        ],
    )
    assert [selection.configuration.name for selection in scores.selections] == ["width=a"] * 2 + [
        "width=b"
    ]
    assert [selection.inner_score for selection in scores.selections] == [0.5] * 3
    assert [selection.scores for selection in scores.selections] == [
        {"accuracy": 0.75},
        {"accuracy": 0.5},
        {"accuracy": 0.5},
    ]
    assert scores.final.name == "width=b"
    assert [(one.name, n) for one, n in scores.counts] == [("width=a", 2), ("width=b", 1)]
    assert scores.note == ""


def test_losses_and_ends_of_intervals_choose_as_the_leaderboard_does(choose):
    entries = [finished(n, 0.5, "hamming_loss") for n in range(2)]
    tables = [
        outer_table((0.25, 0.5), (0.5, 0.5), metric="hamming_loss"),
        outer_table((0.5, 1.0), (0.25, 0.0), metric="hamming_loss"),
    ]
    scores = choose(entries, tables)
    assert [selection.scores["hamming_loss"] for selection in scores.selections] == [0.5, 0.0]
    scores = choose(entries, tables, criterion=Criterion("hamming_loss", "ci_low", minimize=False))
    assert [selection.scores["hamming_loss"] for selection in scores.selections] == [1.0, 0.5]
    assert [selection.inner_score for selection in scores.selections] == [0.4, 0.3]


def test_windows_in_order_of_time_have_no_interval(choose):
    tables = [outer_table((0.5, 0.5), (0.5, 0.25))]
    assert choose([finished(0, 0.5)], tables).summary["accuracy"].ci is not None
    params = {"cv.kind": "time_series"}
    assert choose([finished(0, 0.5)], tables, params).summary["accuracy"].ci is None


def test_what_cannot_be_chosen_is_counted(choose):
    entries = [
        finished(0, 0.9),
        finished(1, 0.8),
        replace(finished(2, 0.7), nested_digest="others"),
        failed(3, "no memory"),
        finished(4, math.nan),
    ]
    tables = [
        outer_table((None, 0.5), (None, 0.5), (0.5, 0.25)),
        outer_table((0.5, None), (None, 0.5), (0.25, 0.5)),
    ]
    scores = choose(entries, tables)
    assert [selection.fold for selection in scores.selections] == [0, 2]
    assert scores.selection_rows()[0]["accuracy"] is None
    assert scores.summary["accuracy"].n_undefined == 1
    assert scores.summary["accuracy"].mean == 0.25
    assert scores.n_folds == 3
    assert "1 with other outer folds, data or folds, 2 without a result" in scores.note
    assert "No configuration has a score in 1 of 3 outer folds." in scores.note


def test_sweeps_without_outer_folds_say_nothing(choose):
    assert score_nested(Leaderboard([finished(0, 0.5)], 1)) is None
    assert on_screen(None) == ""
    entries = [finished(0, 0.5), replace(finished(1, 0.4), nested_digest="same")]
    assert "no outer folds" in score_nested(Leaderboard(entries, 2)).note


def test_a_store_that_fails_costs_no_leaderboard():
    entry = replace(finished(0, 0.5), nested_digest="same")
    assert "cannot be scored" in on_screen(score_nested(Leaderboard([entry], 1)))


def on_screen(scores):
    console = Console(width=100, file=StringIO(), markup=False, highlight=False)
    for part in describe_nested(scores):
        console.print(part)
    return console.file.getvalue()


def test_a_single_run_says_that_its_outer_scores_are_of_one_configuration(tmp_path, command):
    store = CommandRunner(tmp_path)
    out, _ = store.run_here(*command[1:2], *command[3:], "report.html=true")
    (run,) = store.runs()
    rows = read_table(run, "outer_folds.json")
    assert [(row["repeat"], row["fold"]) for row in rows] == [
        (r, f) for r in (0, 1) for f in range(3)
    ]
    mean = np.mean([row["accuracy"] for row in rows])
    assert run.data.metrics["outer/accuracy_mean"] == mean
    assert f"Outer folds (6): Accuracy: {mean:.3f}" in out
    assert len([line for line in out.splitlines() if line.startswith(">")]) == 3
    history = store.client.get_metric_history(run.info.run_id, "outer/inner_f1_micro")
    assert [value.value for value in history] == [row["inner_f1_micro_mean"] for row in rows]
    assert len(store.client.get_metric_history(run.info.run_id, "fold/accuracy")) == 3
    assert f"Outer folds (6): Accuracy: {mean:.3f}" in artifact(run, "report.html").read_text()


def test_racing_is_refused(make_config):
    with pytest.raises(UserError, match=r"racing: expected null with cv\.outer_splits"):
        make_config("racing=first_repeat", "cv.outer_splits=5")
