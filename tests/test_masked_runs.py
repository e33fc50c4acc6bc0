"""Runs on labels that are not known, from the command to predictions, comparison and report."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from pipeline.commands import compare, predict, report
from pipeline.scoring.held_out import read_predictions
from tests.command_runner import CommandRunner, artifact

LABELS = ["tag_a", "tag_b", "tag_c"]
METRICS = "scoring.metrics=[f1_macro,hamming_loss,accuracy]"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs on a table whose third label the first fold's test rows do not know."""
    folder = tmp_path_factory.mktemp("masked")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3))
    y = (X + 0.5 * rng.normal(size=X.shape) > 0).astype(float)
    y[rng.random(y.shape) < 0.3] = np.nan
    y[:5] = np.nan
    fold = np.arange(90) % 3 + 1
    y[fold == 1, 2] = np.nan
    table = pd.DataFrame(np.column_stack([X, y]), columns=[*"xyz", *LABELS])
    table.assign(fold=fold).to_csv(folder / "t.csv", index=False)
    store = CommandRunner(folder)
    for name in ("logistic", "dummy"):
        store.run_here(
            *("dataset=table", f"dataset.path={folder}/t.csv", "dataset.labels=[tag_*]"),
            *("dataset.missing_labels=mask", "dataset.fold_column=fold", "cv=predefined"),
            *(f"model={name}", METRICS, f"tracking.run_name={name}"),
        )
    return store, table, fold


def run_named(store, name):
    (run,) = (run for run in store.runs() if run.info.run_name == name)
    return run


def test_stored_predictions_miss_what_is_not_known_and_give_the_scores(runs):
    store, table, fold = runs
    run = run_named(store, "logistic")
    stored = read_predictions(artifact(run, "predictions.parquet"))
    y = table[LABELS].to_numpy()[stored.row]
    np.testing.assert_array_equal(stored.mask, ~np.isnan(y))
    np.testing.assert_array_equal(stored.y_true[stored.mask], y[stored.mask])
    scores = []
    for number in (1, 2, 3):
        rows = fold[stored.row] == number
        of_label = [
            f1_score(y[cells, j], stored.y_pred[cells, j])
            for j in range(3)
            if (cells := rows & stored.mask[:, j]).any()
        ]
        assert len(of_label) == (2 if number == 1 else 3)  # a label is left out of a fold
        scores.append(np.mean(of_label))
    assert run.data.metrics["f1_macro_mean"] == pytest.approx(np.mean(scores))


def test_runs_are_compared_and_reported_on_the_same_cells(runs, tmp_path, monkeypatch, capsys):
    store, _, _ = runs
    monkeypatch.setattr(compare, "mlruns", lambda: tmp_path)
    assert compare.main(["logistic", "dummy", f"tracking.uri={store.uri}"]) == 0
    assert "logistic" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert report.main(["logistic", "-o", str(page), f"tracking.uri={store.uri}"]) == 0
    text = page.read_text()
    assert "Labels that are not known, by row" in text
    assert "<dt>Rows known to have no label</dt>" in text
    assert "<dt>Rows without a label</dt>" not in text
    assert text.count("<figure>") >= 6


def test_rows_whose_labels_are_not_known_are_predicted(runs, tmp_path):
    store, table, _ = runs
    table.iloc[:5].to_csv(tmp_path / "new.csv", index=False)
    arguments = ["logistic", str(tmp_path / "new.csv"), "-o", str(tmp_path / "o.csv")]
    assert predict.main([*arguments, f"tracking.uri={store.uri}"]) == 0
    written = pd.read_csv(tmp_path / "o.csv")[LABELS]
    assert written.shape == (5, 3)
    assert written.notna().all(axis=None)


def test_chains_are_refused_by_name_before_training(runs):
    store, _, _ = runs
    n_runs = len(store.runs())
    _, err = store.run_here(
        *("dataset=table", f"dataset.path={store.folder}/t.csv", "dataset.labels=[tag_*]"),
        *("dataset.missing_labels=mask", "model=classifier_chain"),
        code=2,
    )
    assert "scikit-learn's chains need all labels of a row" in " ".join(err.split())
    assert len(store.runs()) == n_runs
