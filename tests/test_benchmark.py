"""The benchmark: its contestants, its limits, its tables, its figure and its page."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import FIGURE, PAGE, RESULTS
from benchmarks.contest import Contender, run_contest
from benchmarks.figure import draw_figure
from benchmarks.process import ContestantError, Worker
from benchmarks.results import (
    BEGIN,
    END,
    compare_accuracy,
    format_results,
    list_measures,
    seconds_after,
    seconds_first,
    update_page,
)
from benchmarks.works import (
    WORKS,
    Work,
    initial_weights,
    make_batches,
    read_data,
    write_data,
    write_file,
)

TINY = Work("tutorial", 60, 4, (5,), 2, 16, 8, 2)
SPARSE = Work("wide", 40, 30, (5,), 3, 16, 1, 2, density=0.2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_data(TINY, tmp_path)
    return tmp_path


def make_results() -> dict:
    """Return made-up results of the tutorial, the commands, a sweep, a curve and stacks."""
    n_fits = 30
    manyfold = {
        **{"n_fits": n_fits, "rounds": [1.0, 3.0, 2.0], "cold": 8.0, "warm": 4.0},
        **{"accuracy": {"0": 0.8, "1": 0.9}, "memory": 900.0, "import_memory": 800.0},
        "fits_at_once": 8,
    }
    jax = {**manyfold, "rounds": [2.5, 2.5, 2.5], "cold": 10.0, "warm": 3.0}
    keras = {
        **{"n_fits": 1, "rounds": [30.0, 40.0], "first": 36.0, "memory": 700.0},
        **{"accuracy": {"1": 0.5}, "import_memory": 600.0},
    }
    stamp = {"date": "2026-01-01", "load": 0.5}
    point = {"value": 10, "first": 3.0, "later": 1.0, "memory": 500.0, "fits_at_once": 2}
    command = {"seconds": [5.0, 6.0, 4.0], "memory": 700.0, "processor": 4.0}
    work = {**asdict(WORKS["tutorial"]), "title": "a title"}
    contestants = {"manyfold": manyfold, "jax_one": jax, "keras": keras}
    contestants["torch"] = {"error": "not installed: torch", "rounds": [], "n_fits": n_fits}
    pieces = {
        "tutorial": {"work": work, "contestants": contestants},
        "command": {"import": command, "first": command, "later": {**command, "seconds": [7.5]}},
        "sweep": {**command, "seconds": [30.0], "jobs": [1.0] * 5, "training": [1.2] * 6},
        "wide_command": {**command, "seconds": [31.0, 30.0], "command": "a"},
        "wide_command_256": {**command, "seconds": [21.0, 20.0], "command": "b"},
        "curves": {"base": "a base", "points": {"rows": [point, {**point, "value": 100}]}},
        "stacks": {"works": {"yeast": {"title": "a", "automatic": 1, "points": [point]}}},
    }
    machine = {"processor": "P", "cores": 2, "memory_gb": 8, "versions": {"keras": "3"}}
    return {"machine": machine, "pieces": {name: stamp | it for name, it in pieces.items()}}


def test_rows_of_fits_are_those_of_a_cross_validation(folder):
    data = read_data(folder)
    (train, test), (other_train, other_test) = data.rows(0), data.rows(1)
    np.testing.assert_array_equal(np.sort(np.append(test, other_test)), np.arange(60))
    np.testing.assert_array_equal(train, other_test)
    np.testing.assert_array_equal(other_train, test)


def test_batches_hold_every_row_once_an_epoch():
    trains = [np.arange(0, 21), np.arange(30, 60)]
    rows, weights = make_batches(TINY, trains, seed=0)
    assert rows.shape == (2, TINY.epochs, 2, 16)
    for fit, train in enumerate(trains):
        for epoch in range(TINY.epochs):
            used = rows[fit, epoch][weights[fit] == 1]
            np.testing.assert_array_equal(np.sort(used), train)


def test_the_number_of_weights_is_that_of_the_layers():
    layers = initial_weights(WORKS["yeast"], seed=0)
    assert sum(array.size for layer in layers for array in layer) == WORKS["yeast"].n_weights


def test_a_sparse_table_is_the_same_in_its_file(tmp_path):
    from pipeline import load_dataset

    write_data(SPARSE, tmp_path)
    data = read_data(tmp_path)
    write_file(data, tmp_path / "table.svm")
    dataset = load_dataset("svmlight", path=str(tmp_path / "table.svm"), n_features=30)
    np.testing.assert_allclose(dataset.X, data.X.toarray(), rtol=1e-4)
    np.testing.assert_array_equal(dataset.y, data.y)


@pytest.mark.parametrize(
    ("module", "setting"),
    [
        ("c_program", None),
        ("jax_vmap", "all"),
        ("jax_vmap", "1"),
        ("torch_func", None),
        ("keras_loop", None),
        ("keras_loop", "tuned"),
    ],
)
def test_contestants_train_like_a_loop_in_numpy(module, setting, folder):
    """From equal weights and with all rows in each batch, which no order of rows changes."""
    needed = {"jax_vmap": "jax", "torch_func": "torch"}.get(module)
    if needed:
        pytest.importorskip(needed)
    contestants = pytest.importorskip(f"benchmarks.contestants.{module}")
    work = Work(**{**asdict(TINY), "batch_size": 30, "hidden_units": (5,)})
    data = read_data(folder)
    contestant = contestants.Contestant(work, data, *([setting] if setting else []))
    if module == "keras_loop" and setting is None:
        make = contestant._make_model
        seeds = iter(range(2))

        def with_weights():
            model = make()
            layers = initial_weights(work, next(seeds))
            model.set_weights([array for layer in layers for array in layer])
            return model

        contestant._make_model = with_weights
    contestant.prepare()
    for fit, y_score in enumerate(contestant.train([0, 1])):
        expected = train_in_numpy(work, data, fit)
        np.testing.assert_allclose(y_score, expected, rtol=2e-3, atol=2e-5)


def test_manyfold_reaches_the_accuracy_of_a_loop_in_numpy(folder):
    from benchmarks.contestants.manyfold import Contestant

    work = Work(**{**asdict(TINY), "batch_size": 30, "epochs": 600})
    data = read_data(folder)
    contestant = Contestant(work, data)
    contestant.prepare()
    assert contestant.fits_at_once == 2
    for fit, y_score in enumerate(contestant.train([0, 1])):
        y = data.y[data.rows(fit)[1]]
        expected = ((train_in_numpy(work, data, fit) > 0.5) == y).mean()
        assert ((y_score > 0.5) == y).mean() == pytest.approx(expected, abs=0.15)
        assert expected > 0.6


def train_in_numpy(work: Work, data, fit: int) -> np.ndarray:
    """Return probabilities after full-batch Adam with Keras's settings, in float64."""
    train, test = data.rows(fit)
    weights = [array.astype(float) for layer in initial_weights(work, fit) for array in layer]
    first, second = [0 * it for it in weights], [0 * it for it in weights]
    X, y = data.X[train].astype(float), data.y[train]

    def predict(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hidden = np.maximum(X @ weights[0] + weights[1], 0)
        return hidden, 1 / (1 + np.exp(-(hidden @ weights[2] + weights[3])))

    for step in range(1, work.epochs + 1):
        hidden, p = predict(X)
        error = (p - y) / y.size
        back = (error @ weights[2].T) * (hidden > 0)
        gradients = [X.T @ back, back.sum(0), hidden.T @ error, error.sum(0)]
        for index, gradient in enumerate(gradients):
            first[index] = 0.9 * first[index] + 0.1 * gradient
            second[index] = 0.999 * second[index] + 0.001 * gradient**2
            rate = 0.001 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            weights[index] -= rate * first[index] / (np.sqrt(second[index]) + 1e-7)
    return predict(data.X[test])[1]


def test_a_contestant_that_is_missing_or_fails_is_named(folder, monkeypatch):
    contenders = {
        "missing": Contender("Missing", "no_such_module"),
        "c": Contender("C", "c_program", compiles=True),
    }
    monkeypatch.setattr("benchmarks.contest.CONTENDERS", contenders)
    monkeypatch.setenv("CC", "false")  # a compiler that fails
    results = run_contest(TINY, lambda text: None, names=("missing", "c"), rounds=1)
    assert results["contestants"]["missing"]["error"] == (
        "not installed: benchmarks.contestants.no_such_module"
    )
    assert results["contestants"]["c"]["error"].startswith("failed: ")
    assert "returned non-zero exit status 1" in results["contestants"]["c"]["error"]


def test_a_contestant_that_is_too_slow_is_ended(folder, monkeypatch):
    worker = Worker("c_program", TINY, folder)
    monkeypatch.setattr("benchmarks.process.TIMEOUT", 0.0)
    with pytest.raises(ContestantError, match="no answer in 0 s"):
        worker.train([0, 1], prepare=True)
    assert worker._process.returncode is not None


def test_seconds_of_some_fits_stand_for_all():
    work = WORKS["tutorial"]
    contestants = make_results()["pieces"]["tutorial"]["contestants"]
    assert seconds_after(contestants["manyfold"], work) == 2.0
    assert seconds_first(contestants["manyfold"], work, "cold") == 8.0
    assert seconds_after(contestants["keras"], work) == 30 * 35.0
    assert seconds_first(contestants["keras"], work, "warm") == 36.0 + 29 * 35.0
    assert seconds_after(contestants["torch"], work) is None


def test_accuracies_are_compared_on_the_same_fits():
    contestants = make_results()["pieces"]["tutorial"]["contestants"]
    difference, limit = compare_accuracy(
        contestants["keras"], contestants["manyfold"], WORKS["tutorial"]
    )
    assert difference == pytest.approx(0.5 - 0.9)
    assert limit == pytest.approx(0.005 + 3 * np.sqrt(2 * 0.25 / 300))


def test_measures_compare_with_the_limits():
    measures = {it.title: it for it in list_measures(make_results())}

    def values(start: str) -> list[tuple[str, bool | None]]:
        return [(it.value, it.is_met) for title, it in measures.items() if title.startswith(start)]

    assert values("tutorial, speed-up") == [("262x", True), ("525x", True)]
    assert values("tutorial, after compiling") == [("0.8x", True)]
    assert values("tutorial, compiling counted") == [("1.33x", False), ("0.8x", True)]
    assert values("tutorial, accuracy") == [("3.14x", False)]
    assert values("tutorial, memory") == [("900 MB", True)]
    assert values("`python -m pipeline`") == [("1.5x", False)]
    assert values("sweep in one process") == [("1.61x", True)]
    assert values("sweep of") == [("210x", True)]
    assert values("10,000 x 5,000 sparse") == [("30 s", False), ("20 s", True)]
    assert values("yeast, after") == [("not measured", None)]


def test_tables_show_failures_and_differences():
    text = format_results(make_results())
    assert "PyTorch, torch.func.vmap (not installed: torch)" in text
    assert "-0.4000 (differs)" in text
    assert "### Wide" not in text
    assert "`python -m pipeline b`, second run" in text
    for line in text.splitlines():
        assert not line.startswith("|") or line.endswith("|")


def test_the_page_gets_the_tables_between_its_markers():
    results = make_results()
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    updated = update_page(page, results)
    assert updated == f"before\n{BEGIN}\n\n{format_results(results)}\n\n{END}\nafter\n"
    assert update_page(updated, results) == updated
    with pytest.raises(ValueError, match="Expected a page"):
        update_page("no markers", results)


def test_the_figure_has_a_panel_for_each_curve(tmp_path, monkeypatch):
    panels = []
    monkeypatch.setattr(
        "benchmarks.figure._label", lambda ax, x, y: panels.append((x, ax.get_xscale()))
    )
    draw_figure(make_results(), tmp_path / "figure.png")
    assert panels[1:] == [("rows", "log"), ("configurations in one process", "linear")]
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_documentation_is_that_of_the_results():
    results = json.loads(RESULTS.read_text())
    assert PAGE.read_text() == update_page(PAGE.read_text(), results)
    assert FIGURE.exists()
    assert not {str(Path.home()), "/tmp"} & set(RESULTS.read_text().split('"'))
