"""Ranks and groups of a leaderboard against a plain count, its tables and its figure."""

import math
from dataclasses import replace
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.checks import Finding
from pipeline.checks.sweep_checks import check_sweep, is_faulty
from pipeline.comparison.entries import Criterion, Entry
from pipeline.comparison.leaderboard import Leaderboard, to_json_table
from pipeline.console.leaderboard_tables import leaderboard_tables
from pipeline.report.figures import draw_leaderboard


def finished(job_number, mean, metric="accuracy", std=0.02, settings=None, **fields):
    statistics = {"mean": mean, "std": std, "ci_low": mean - 0.03, "ci_high": mean + 0.03}
    metrics = {
        f"{metric}_{name}": value for name, value in statistics.items() if math.isfinite(mean)
    }
    settings = settings or {"width": str(job_number)}
    run_id = f"{job_number:032x}"
    return Entry(run_id, job_number, settings, "FINISHED", metric, metrics, 1.5, **fields)


def failed(job_number, reason, status="FAILED"):
    settings = {"width": str(job_number)}
    return Entry(f"{job_number:032x}", job_number, settings, status, reason=reason)


def on_screen(board, width=100):
    console = Console(width=width, file=StringIO(), markup=False, highlight=False)
    for part in leaderboard_tables(board):
        console.print(part)
    return console.file.getvalue()


MEANS = st.lists(st.sampled_from([0.1, 0.5, 0.5000001, 0.9, math.nan]), min_size=1, max_size=12)


@given(MEANS, st.sampled_from(["accuracy", "hamming_loss"]))
def test_ranks_count_the_better_jobs(means, metric):
    entries = [finished(number, mean, metric) for number, mean in enumerate(means)]
    board = Leaderboard(entries[::-1], len(means))
    assert {entry.job_number for entry in board.entries} == set(range(len(means)))
    for rank, entry in zip(board.ranks, board.entries, strict=True):
        mean = means[entry.job_number]
        if math.isnan(mean):
            assert rank is None
        else:
            n_lower = sum(other < mean for other in means)
            n_higher = sum(other > mean for other in means)
            assert rank == 1 + (n_lower if metric == "hamming_loss" else n_higher)
    assert list(board.ranks[: board.n_ranked]) == sorted(board.ranks[: board.n_ranked])


def test_the_direction_of_an_own_metric_is_the_runs():
    entries = [
        finished(number, mean, "rmse", greater_is_better={"rmse": False})
        for number, mean in enumerate((0.3, 0.1, 0.2))
    ]
    board = Leaderboard(entries, 3)
    assert [entry.job_number for entry in board.entries] == [1, 2, 0]
    assert board.criterion.minimize


@pytest.mark.parametrize(("statistic", "first"), [("mean", 1), ("ci_low", 0)])
def test_a_search_names_its_criterion(statistic, first):
    narrow = {"f1_micro_mean": 0.6, "f1_micro_ci_low": 0.55}
    wide = {"f1_micro_mean": 0.7, "f1_micro_ci_low": 0.3}
    entries = [
        Entry(f"{n:032x}", n, {"width": str(n)}, "FINISHED", "accuracy", metrics)
        for n, metrics in enumerate((narrow, wide))
    ]
    board = Leaderboard(entries, 2, Criterion("f1_micro", statistic, minimize=False))
    assert (board.best.job_number, board.metric) == (first, "f1_micro")
    assert ("the worse end of the interval" in on_screen(board)) == (statistic == "ci_low")
    assert Leaderboard(entries, 2).best is None


def test_failures_are_grouped_by_reason():
    reasons = ["no memory", "bad data", "no memory", "no memory"]
    entries = [failed(number, reason) for number, reason in enumerate(reasons)]
    board = Leaderboard([*entries, finished(4, 0.5)], 7)
    assert [(reason, len(jobs)) for reason, jobs in board.failures().items()] == [
        ("no memory", 3),
        ("bad data", 1),
    ]
    assert (board.n_missing, board.is_complete) == (2, False)
    text = on_screen(board)
    assert "7 jobs: 1 finished, 4 failed, 2 not run" in text
    assert "3 failed: width=0; width=2; width=3\n  no memory" in text


def test_messages_that_differ_in_the_received_value_are_one_reason():
    reasons = ["dropout: expected less than 1. Received: 1.5", "units: expected 1. Received: 0"]
    reasons += ["dropout: expected less than 1. Received: 1.75"]
    board = Leaderboard([failed(number, reason) for number, reason in enumerate(reasons)], 3)
    assert [(reason, len(jobs)) for reason, jobs in board.failures().items()] == [
        (reasons[0], 2),
        (reasons[1], 1),
    ]


def test_the_json_table_has_settings_statistics_and_reasons():
    entries = [
        finished(0, 0.7, settings={"model": "mlp", "width": "1"}),
        failed(1, "bad data"),
    ]
    table = to_json_table(Leaderboard(entries).rows())
    assert table["columns"] == [
        *("rank", "model", "width", "accuracy_mean", "accuracy_std", "accuracy_ci_low"),
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
    assert " ".join(lines[1].split()) == "rank Accuracy std 95% interval width seconds run"
    assert " ".join(lines[2].split()) == "1 0.490 0.020 0.460 to 0.520 49 1.5 00000000"
    assert lines[-1].strip() == "... and 30 more, in leaderboard.json"


def test_jobs_stopped_by_racing_are_listed():
    stopped = [replace(finished(number, math.nan), reason="p = 0.001") for number in (1, 2)]
    last = on_screen(Leaderboard([finished(0, 0.5), *stopped], 3)).splitlines()[-1]
    assert last == "2 jobs stopped early by racing (significantly worse): width=1; width=2"


def test_jobs_that_are_not_comparable_have_a_note():
    board = Leaderboard(
        [finished(0, 0.5, digests=("a", "b")), finished(1, 0.6, digests=("c", "b"))]
    )
    assert "2 different data sets or sets of folds" in " ".join(on_screen(board).split())
    board = Leaderboard([finished(0, 0.5), finished(1, 0.6), finished(2, 0.1, metric="log_loss")])
    assert board.metric == "accuracy"
    assert "Accuracy is missing or undefined for width=2" in on_screen(board)


SETTINGS = {
    "training.learning_rate": "0.00123456789",
    "training.batch_size": "128",
    "model.hidden_units": "[64,32]",
    "model.dropout": "0.25",
    "model.activation": "leaky_relu",
}


@pytest.mark.parametrize("n_settings", range(1, 6))
@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_heading_or_value_is_broken_inside_a_word(width, n_settings):
    settings = dict(list(SETTINGS.items())[:n_settings])
    text = on_screen(Leaderboard([finished(0, 0.5, settings=settings)]), width)
    numbers = ["0.500", "0.020", "0.470 to 0.530", "1.5", f"{0:032x}"[:8]]
    shown = {**settings, "training.learning_rate": "0.001235"}
    for part in (*numbers, "Accuracy", "seconds", *(key.split(".")[1] for key in settings)):
        assert part in text
    assert all(value in text for value in shown.values())
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 160])
def test_a_long_value_hides_no_number(width):
    key = "training.learning_rate"
    board = Leaderboard([finished(0, 0.5, settings={key: "0.00123456789", "model": "a" * 90})])
    text = on_screen(board, width)
    assert all(part in text for part in ("0.500", "0.020", "0.470 to 0.530", "0.001235"))


def test_small_deviations_do_not_vanish():
    entries = [finished(number, 0.0012 + number / 1e4, std=0.00012) for number in range(2)]
    lines = on_screen(Leaderboard(entries)).splitlines()
    numbers = [line.split()[1:3] for line in lines[2:]]
    assert numbers == [["0.00130", "0.00012"], ["0.00120", "0.00012"]]


def test_a_single_fold_has_no_deviation():
    entry = Entry(
        "a" * 32, 0, {}, "FINISHED", "accuracy", {"accuracy_mean": 0.5, "accuracy_std": 0}
    )
    board = Leaderboard([entry])
    assert on_screen(board).splitlines()[-1].split() == ["1", "0.500", "aaaaaaaa"]
    (axes,) = draw_leaderboard(board).axes
    assert axes.get_xlabel() == "Accuracy: score of the only fold (higher is better)"


def test_a_sweep_without_runs():
    assert "4 jobs: 4 not run" in on_screen(Leaderboard([], 4))
    assert to_json_table(Leaderboard([]).rows()) == {"columns": [], "data": []}


@pytest.mark.parametrize("n", [1, 3, 100])
def test_the_figure_shows_mean_and_interval_of_the_best(n):
    board = Leaderboard([finished(number, 0.5 + number / 1000) for number in range(n)])
    (axes,) = draw_leaderboard(board).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [f"width={n - 1 - row}" for row in range(min(n, 30))]
    low, high = axes.lines[0].get_xdata()
    assert (low, high) == pytest.approx((board.best.metrics["accuracy_mean"] - 0.03, high))
    assert high - low == pytest.approx(0.06)


def seeded(scores):
    """Return a leaderboard of configurations by name, each with the scores of its seeds."""
    jobs = [(name, seed, score) for name in scores for seed, score in enumerate(scores[name])]
    entries = [
        finished(number, score, settings={"model": name, "seed": str(seed)})
        for number, (name, seed, score) in enumerate(jobs)
    ]
    return Leaderboard(entries)


def test_seeds_of_a_configuration_are_one_line():
    board = seeded({"knn": [0.7, 0.7, 0.73], "mlp": [0.6, 0.84, 0.75], "svm": [0.9]})
    assert board.has_seeds
    ranked = [(one.name, len(one.entries), one.mean) for one in board.configurations]
    assert ranked == [
        ("model=svm", 1, 0.9),
        ("model=mlp", 3, pytest.approx(0.73)),
        ("model=knn", 3, pytest.approx(0.71)),
    ]
    lines = [line.split() for line in on_screen(board).splitlines()]
    assert " ".join(lines[1]) == "rank Accuracy std of seeds std of folds seeds model first run"
    assert lines[2] == ["1", "0.900", "0.020", "1", "svm", f"{6:032x}"[:8]]
    narrow = Console(width=80, file=StringIO())
    narrow.print(*leaderboard_tables(board))
    assert "Accuracy" in narrow.file.getvalue()
    assert lines[3][:6] == ["2", "0.730", "0.121", "0.020", "3", "mlp"]
    by_job = Console(width=100, file=StringIO())
    by_job.print(*leaderboard_tables(board, by_job=True))
    assert len(by_job.file.getvalue().splitlines()) == 9
    rows = board.rows()
    assert len(rows) == 7  # the stored table has every job
    of_knn = [row for row in rows if row["model"] == "knn"]
    assert {row["configuration"] for row in of_knn} == {3}
    assert {round(row["mean_over_seeds"], 6) for row in of_knn} == {0.71}
    assert "configuration" not in seeded({"knn": [0.7], "mlp": [0.8]}).rows()[0]


def test_the_best_configuration_is_the_best_on_average_over_seeds():
    board = seeded({"lucky": [0.5, 0.95], "good": [0.8, 0.82]})
    assert board.entries[0].settings["model"] == "lucky"
    assert board.best.settings == {"model": "good", "seed": "1"}
    metrics = {name: value for name, value, _ in board.best_metrics()}
    assert metrics == {
        "best/accuracy_mean": pytest.approx(0.81),
        "best/accuracy_std": pytest.approx(0.02),
        "best/accuracy_seed_std": pytest.approx(0.01414, rel=1e-3),
        "best/accuracy_n_seeds": 2,
    }
    (axes,) = draw_leaderboard(board).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["model=good", "model=lucky"]
    over_folds, over_seeds, _ = (line.get_xdata() for line in axes.lines[:3])
    assert over_folds == pytest.approx([0.79, 0.83])
    assert over_seeds == pytest.approx([0.81 - 0.01414, 0.81 + 0.01414], abs=1e-4)
    assert "over seeds (thick) and over folds (thin)" in axes.get_xlabel()


def test_jobs_on_other_folds_are_other_configurations():
    entries = [
        finished(n, 0.5, settings={"seed": str(n)}, digests=("data", f"folds {n}"))
        for n in range(2)
    ]
    assert not Leaderboard(entries).has_seeds


def test_data_sets_are_ranked_one_by_one_and_no_job_is_the_best():
    scores = {"flags": (0.2, 0.3, 0.3, 0.1), "yeast": (0.9, 0.7)}
    cells = [(data, mean) for data, means in scores.items() for mean in means]
    cells = [cells[n] for n in (4, 0, 1, 2, 5, 3)]  # yeast comes first
    entries = [
        finished(n, mean, settings={"data": data}, digests=(data, f"folds of {data}"))
        for n, (data, mean) in enumerate(cells)
    ]
    board = Leaderboard(entries, len(entries))
    table = [
        (entry.settings["data"], board.value(entry, "mean"), rank)
        for entry, rank in zip(board.entries, board.ranks, strict=True)
    ]
    assert table == [
        ("yeast", 0.9, 1),
        ("yeast", 0.7, 2),
        ("flags", 0.3, 1),
        ("flags", 0.3, 1),
        ("flags", 0.2, 3),
        ("flags", 0.1, 4),
    ]
    assert board.best is None
    assert not board.best_metrics()
    assert not check_sweep(board)
    assert "Each of 2 data sets is ranked by itself" in on_screen(board)


def test_configurations_of_seeds_are_ranked_within_their_data_set():
    entries = [
        finished(
            n,
            mean,
            settings={"data": data, "model": model, "seed": seed},
            digests=(data, f"folds of {data}"),
        )
        for n, (data, model, seed, mean) in enumerate(
            (data, model, seed, mean)
            for data, low, high in (("flags", 0.2, 0.3), ("yeast", 0.8, 0.9))
            for model, mean in (("a", low), ("b", high))
            for seed in "01"
        )
    ]
    board = Leaderboard(entries, len(entries))
    names = [one.name for one in board.configurations]
    assert names == [f"data={data}, model={it}" for data in ("flags", "yeast") for it in "ba"]
    ranked = [line.split()[:2] for line in on_screen(board).splitlines()[2:6]]
    assert ranked == [["1", "0.300"], ["2", "0.200"], ["1", "0.900"], ["2", "0.800"]]
    configurations = [row["configuration"] for row in board.rows()]
    assert configurations == [1, 1, 2, 2, 1, 1, 2, 2]


def test_a_sweep_without_a_decision_is_not_faulty():
    board = Leaderboard([finished(0, 0.5), finished(1, 0.5)])
    undecided = [Finding(code, "", "") for code in ("MF013", "MF014")]
    assert not is_faulty(board, undecided)
    assert is_faulty(board, [*undecided, Finding("MF012", "", "")])
    of_job = Leaderboard([finished(0, 0.5, codes=("MF003",)), finished(1, 0.5)])
    assert is_faulty(of_job, [])
