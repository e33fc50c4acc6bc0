"""Ranks, groups and words of a leaderboard, against the plainest way to find them."""

import math
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.comparison.leaderboard import Criterion, Entry, Leaderboard, by_column
from pipeline.console.run_tables import leaderboard_on_screen
from pipeline.report.leaderboard_figure import leaderboard_figure


def finished(number, mean, metric="accuracy", **more):
    ends = {"mean": mean, "std": 0.02, "ci_low": mean - 0.03, "ci_high": mean + 0.03}
    metrics = {f"{metric}_{of}": value for of, value in ends.items() if math.isfinite(mean)}
    varied = more.pop("varied", {"seed": str(number)})
    return Entry(f"{number:032x}", number, varied, "FINISHED", metric, metrics, 1.5, **more)


def failed(number, reason, status="FAILED"):
    return Entry(f"{number:032x}", number, {"seed": str(number)}, status, reason=reason)


def on_screen(board, width=100):
    console = Console(width=width, file=StringIO(), markup=False, highlight=False)
    for part in leaderboard_on_screen(board):
        console.print(part)
    return console.file.getvalue()


MEANS = st.lists(st.sampled_from([0.1, 0.5, 0.5000001, 0.9, math.nan]), min_size=1, max_size=12)


@given(MEANS, st.sampled_from(["accuracy", "hamming_loss"]))
def test_ranks_are_what_counting_better_jobs_gives(means, metric):
    entries = [finished(number, mean, metric) for number, mean in enumerate(means)]
    board = Leaderboard(entries[::-1], len(means))
    assert {entry.number for entry in board.entries} == set(range(len(means)))
    for rank, entry in zip(board.ranks, board.entries, strict=True):
        mean = means[entry.number]
        if math.isnan(mean):
            assert rank is None
        else:
            less = sum(other < mean for other in means)
            more = sum(other > mean for other in means)
            assert rank == 1 + (less if metric == "hamming_loss" else more)
    assert list(board.ranks[: board.n_ranked]) == sorted(board.ranks[: board.n_ranked])


@pytest.mark.parametrize(("of", "first"), [("mean", 1), ("ci_low", 0)])
def test_a_search_says_what_decides(of, first):
    sure = {"f1_micro_mean": 0.6, "f1_micro_ci_low": 0.55}
    unsure = {"f1_micro_mean": 0.7, "f1_micro_ci_low": 0.3}
    entries = [
        Entry(f"{n:032x}", n, {"seed": str(n)}, "FINISHED", "accuracy", metrics)
        for n, metrics in enumerate((sure, unsure))
    ]
    board = Leaderboard(entries, 2, Criterion("f1_micro", of, minimize=False))
    assert (board.best.number, board.metric) == (first, "f1_micro")
    assert ("the worse end of the interval" in on_screen(board)) == (of == "ci_low")
    assert Leaderboard(entries, 2).best is None


def test_what_did_not_finish_is_grouped_by_its_reason():
    reasons = ["no memory", "bad data", "no memory", "no memory"]
    entries = [failed(number, reason) for number, reason in enumerate(reasons)]
    board = Leaderboard([*entries, finished(4, 0.5)], 7)
    assert [(why, len(of)) for why, of in board.failures().items()] == [
        ("no memory", 3),
        ("bad data", 1),
    ]
    assert (board.n_missing, board.is_complete) == (2, False)
    text = on_screen(board)
    assert "7 jobs: 1 finished, 4 failed, 2 not run" in text
    assert "3 failed: seed=0; seed=2; seed=3\n  no memory" in text


def test_refusals_of_different_values_are_one():
    reasons = ["dropout: expected less than 1. Received: 1.5", "units: expected 1. Received: 0"]
    reasons += ["dropout: expected less than 1. Received: 1.75"]
    board = Leaderboard([failed(number, reason) for number, reason in enumerate(reasons)], 3)
    assert [(why, len(of)) for why, of in board.failures().items()] == [
        (reasons[0], 2),
        (reasons[1], 1),
    ]


def test_a_table_has_what_varied_every_number_and_the_reason():
    entries = [
        finished(0, 0.7, varied={"model": "mlp", "seed": "1"}),
        failed(1, "bad data"),
    ]
    table = by_column(Leaderboard(entries).rows())
    assert table["columns"] == [
        *("rank", "model", "seed", "accuracy_mean", "accuracy_std", "accuracy_ci_low"),
        *("accuracy_ci_high", "seconds", "status", "reason", "run_id"),
    ]
    low, high = pytest.approx(0.67), pytest.approx(0.73)
    first = [1, "mlp", "1", 0.7, 0.02, low, high, 1.5, "FINISHED", "", f"{0:032x}"]
    second = [None, None, "1", None, None, None, None, None, "FAILED", "bad data", f"{1:032x}"]
    assert table["data"] == [first, second]


def test_the_screen_shows_the_best_and_counts_the_others():
    board = Leaderboard([finished(number, number / 100) for number in range(50)], 50)
    lines = on_screen(board).splitlines()
    assert lines[0].strip() == "50 jobs: 50 finished"
    assert lines[1].split() == [
        "rank",
        "Accuracy",
        "std",
        "95%",
        "interval",
        "seed",
        "seconds",
        "run",
    ]
    first = "1 0.490 0.020 0.460 to 0.520 49 1.5 00000000"
    assert " ".join(lines[2].split()) == first
    assert lines[-1].strip() == "... and 30 more, in leaderboard.json"


def test_what_cannot_be_compared_is_said():
    board = Leaderboard(
        [finished(0, 0.5, tried_on=("a", "b")), finished(1, 0.6, tried_on=("c", "b"))]
    )
    assert "2 different data sets or sets of folds" in " ".join(on_screen(board).split())
    board = Leaderboard([finished(0, 0.5), finished(1, 0.6), finished(2, 0.1, metric="log_loss")])
    assert board.metric == "accuracy"
    assert "Accuracy is unknown or undefined for seed=2" in on_screen(board)


@pytest.mark.parametrize("width", [80, 160])
def test_a_narrow_screen_loses_no_number(width):
    key = "training.learning_rate"
    board = Leaderboard([finished(0, 0.5, varied={key: "0.00123456789", "model": "a" * 90})])
    text = on_screen(board, width)
    assert all(part in text for part in ("0.500", "0.020", "0.470 to 0.530", "0.001235"))


def test_nothing_at_all_is_shown_as_such():
    assert "4 jobs: 4 not run" in on_screen(Leaderboard([], 4))
    assert by_column(Leaderboard([]).rows()) == {"columns": [], "data": []}


@pytest.mark.parametrize("n", [1, 3, 100])
def test_the_figure_shows_mean_and_interval_of_the_best(n):
    board = Leaderboard([finished(number, 0.5 + number / 1000) for number in range(n)])
    (axes,) = leaderboard_figure(board).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [f"seed={n - 1 - place}" for place in range(min(n, 30))]
    low, high = axes.lines[0].get_xdata()
    assert (low, high) == pytest.approx((board.best.metrics["accuracy_mean"] - 0.03, high))
    assert high - low == pytest.approx(0.06)
