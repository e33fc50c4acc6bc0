"""Labels that look wrong: by hand, on flipped labels, and by the command."""

import csv
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.commands import review as command
from pipeline.scoring.held_out import StoredPredictions
from pipeline.scoring.label_review import (
    COLUMNS,
    MAX_LISTED,
    ids_by_row,
    review_labels,
)
from pipeline.scoring.wrong_cells import Block, find_wrong_cells
from tests.command_runner import CommandRunner

PROBABILITY = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.9], [0.1, 0.9], [0.1, 0.6]])
GIVEN = np.array([[1, 0], [1, 1], [0, 1], [0, 1], [0, 0]])


def store_predictions(given, probability, n_repeats=1) -> StoredPredictions:
    n = len(given)
    y_true = np.tile(given, (n_repeats, 1)).astype(np.int8)
    y_score = np.tile(probability, (n_repeats, 1)).astype(np.float32)
    fold = np.column_stack([np.repeat(np.arange(n_repeats), n), np.arange(n * n_repeats) % 2])
    rows = np.tile(np.arange(n), n_repeats)
    names = tuple("abcdefgh"[: given.shape[1]])
    return StoredPredictions(names, fold, rows, None, None, y_true, y_score, y_true)


@pytest.mark.parametrize("n_repeats", [1, 3])
def test_a_small_table_worked_by_hand(n_repeats):
    """Label a: mean probability of its rows 0.85, so 0.9 without it is wrong. Label b: of rows
    without it, the mean probability of no is 0.65, so 0.8 with it is wrong, and 0.6 is not, as the
    rows with it have 0.67."""
    review = review_labels(store_predictions(GIVEN, PROBABILITY, n_repeats))
    cells = [(it.row, it.label, it.given) for it in review.cells]
    assert cells == [(2, "a", 0), (1, "b", 1)]
    assert [it.probability for it in review.cells] == pytest.approx([0.9, 0.2])
    assert review.rows[0].row == 2
    assert (review.rows[0].given, review.rows[0].predicted) == (("b",), ("a", "b"))
    assert [it.row for it in review.unlabelled] == [4]
    losses = -np.log(np.where(GIVEN, PROBABILITY, 1 - PROBABILITY)).mean(axis=1)
    assert [it.loss for it in review.rows] == pytest.approx(sorted(losses)[::-1], rel=1e-5)


def test_a_row_is_without_a_label_only_if_all_its_labels_are_known():
    stored = store_predictions(GIVEN, PROBABILITY)
    mask = np.ones_like(GIVEN, dtype=bool)
    assert [it.row for it in review_labels(replace(stored, mask=mask)).unlabelled] == [4]
    mask[4, 0] = False
    assert review_labels(replace(stored, mask=mask)).unlabelled == ()


def test_confused_labels_are_missed_and_predicted_instead():
    given = np.array([[1, 0, 0]] * 3 + [[0, 1, 0]] * 2)
    probability = np.array([[0.2, 0.7, 0.1]] * 3 + [[0.1, 0.9, 0.2]] * 2)
    pairs = review_labels(store_predictions(given, probability)).pairs
    assert [(it.true, it.predicted, it.n_rows) for it in pairs] == [("a", "b", 3)]


def test_flipped_labels_come_first():
    rng = np.random.default_rng(0)
    true = rng.random((500, 4)) < 0.4
    probability = np.where(true, rng.beta(6, 2, true.shape), rng.beta(2, 6, true.shape))
    is_flipped = rng.random(true.shape) < 0.05
    block = Block(true ^ is_flipped, probability)
    cells, *_ = find_wrong_cells(lambda: [block], int(is_flipped.sum()))
    assert is_flipped[tuple(cells.T)].mean() > 0.6


def test_a_label_of_no_row_or_of_all_is_never_an_error():
    given = np.column_stack([np.zeros(20, int), np.ones(20, int)])
    review = review_labels(store_predictions(given, np.tile([0.01, 0.99], (20, 1))))
    assert review.cells == ()


def test_the_command_writes_ids_and_features(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2)).round(3)
    y = (X + rng.normal(0, 0.3, X.shape) > 0).astype(int)
    y[5] = 1 - y[5]
    path = tmp_path / "table.csv"
    colours = rng.choice(["red", "green"], 80)
    pd.DataFrame(
        {"name": [f"row {i}" for i in range(80)], "x0": X[:, 0], "x1": X[:, 1], "colour": colours}
        | {f"tag_{j}": y[:, j] for j in range(2)}
    ).to_csv(path, index=False)
    store = CommandRunner(tmp_path)
    store.run_here(
        *("model=logistic", "dataset=table", f"dataset.path={path}", "dataset.labels=[tag_*]"),
        *("dataset.id_column=name", "report=none", "cv.n_splits=4", "cv.n_repeats=2"),
    )
    (run,) = store.runs()
    arguments = [run.info.run_id, f"tracking.uri={store.uri}", "-o"]
    capsys.readouterr()
    assert command.main([*arguments, str(tmp_path / "cells.csv")]) == 0
    assert "Labels that look wrong" in capsys.readouterr().out
    lines = list(csv.DictReader((tmp_path / "cells.csv").read_text().splitlines()))
    cells = [line for line in lines if line["kind"] == "wrong label"]
    rows = [line for line in lines if line["kind"] == "hard row"]
    assert len(rows) == 80
    for line in rows:
        labels = [f"tag_{j}" for j in np.flatnonzero(y[int(line["row"])])]
        assert line["given_labels"] == "|".join(labels)
        assert float(line["x0"]) == pytest.approx(X[int(line["row"]), 0], abs=1e-6)
    frame = pd.read_csv(tmp_path / "cells.csv")
    assert set(frame.kind) <= {"wrong label", "hard row", "unlabelled row", "confused labels"}
    unlabelled = frame[frame.kind == "unlabelled row"]
    assert not y[unlabelled.row.astype(int)].any()
    pairs = frame[frame.kind == "confused labels"]
    assert pairs.n_rows.notna().all()
    assert pairs.x0.isna().all()
    assert {"row 5"} <= {cell["id"] for cell in cells[:6]}
    for cell in cells:
        row = int(cell["row"])
        assert cell["id"] == f"row {row}"
        assert float(cell["x1"]) == pytest.approx(X[row, 1], abs=1e-6)
        assert cell["colour"] == colours[row]
        assert int(cell["given"]) == y[row, int(cell["label"][-1])]
    path.write_text(path.read_text().replace("row 7,", "row seven,"))
    assert command.main([*arguments, str(tmp_path / "cells.jsonl")]) == 0
    assert "the data set has changed since the run" in capsys.readouterr().out
    first = json.loads((tmp_path / "cells.jsonl").read_text().splitlines()[0])
    assert first.keys() == {*COLUMNS.names}
    assert command.main([*arguments, str(tmp_path / "cells.txt")]) == 2


def test_large_tables_are_listed_in_part_and_counted_whole():
    rng = np.random.default_rng(1)
    given, probability = rng.integers(0, 2, (3000, 8)), rng.random((3000, 8))
    given[:400] = 0
    predictions = store_predictions(given, probability)
    everything, part = review_labels(predictions), review_labels(predictions, 5)
    assert len(everything.cells) == everything.n_cells == part.n_cells > 1000
    assert part.cells == everything.cells[:5]
    assert len(part.rows) == len(part.unlabelled) == MAX_LISTED
    assert len(everything.unlabelled) == part.n_unlabelled
    assert part.n_unlabelled > 350
    losses = [it.loss for it in part.rows]
    assert losses == sorted(losses, reverse=True)
    assert len(ids_by_row(predictions, part)) <= 2 * MAX_LISTED + 5


@pytest.mark.parametrize("n_repeats", [1, 2])
def test_a_review_of_a_few_rows_at_a_time_is_that_of_all(monkeypatch, n_repeats):
    rng = np.random.default_rng(2)
    given, probability = rng.integers(0, 2, (300, 6)), rng.random((300, 6))
    predictions = store_predictions(given, probability, n_repeats)
    mask = rng.random(predictions.y_true.shape) < 0.9
    mask = mask if n_repeats == 1 else np.tile(mask[:300], (n_repeats, 1))
    order = rng.permutation(len(mask))
    shuffled = replace(predictions, mask=mask).take(order)
    for stored in (predictions, shuffled):
        whole = [review_labels(stored), review_labels(stored, 7)]
        monkeypatch.setattr("pipeline.scoring.held_out.MAX_CELLS", 100)
        assert [review_labels(stored), review_labels(stored, 7)] == whole
        monkeypatch.undo()


def test_of_very_many_labels_the_most_confused_are_paired(monkeypatch):
    rng = np.random.default_rng(3)
    given, probability = rng.random((400, 8)) < 0.5, rng.random((400, 8))
    probability[:, 2:] = np.where(given[:, 2:], 0.9, 0.1)
    stored = store_predictions(given, probability)
    monkeypatch.setattr("pipeline.dataset.label_coverage.MAX_PAIRED", 2)
    is_missed, is_wrong = given & (probability < 0.5), ~given & (probability > 0.5)
    pairs = {(it.true, it.predicted): it.n_rows for it in review_labels(stored).pairs}
    assert pairs == {
        ("a", "b"): (is_missed[:, 0] & is_wrong[:, 1]).sum(),
        ("b", "a"): (is_missed[:, 1] & is_wrong[:, 0]).sum(),
    }
