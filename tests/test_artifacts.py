"""Tables of the files of a run, from evaluations with random probabilities."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from pipeline.report import artifacts
from pipeline.report.tables import folds_table, labels_table, predictions_table
from tests.random_evaluation import ALL_LABELS_IN_ALL_FOLDS, make_rare_labels, random_evaluation


def test_the_labels_table_has_mean_and_deviation_over_folds(make_config):
    evaluation = random_evaluation(make_config)
    table = labels_table(evaluation).set_index("label")
    assert list(table.index) == ["y0", "y1", "y2"]
    folds = [(evaluation.dataset.y[f.split.test], f.y_score) for f in evaluation.folds]
    for i, label in enumerate(table.index):
        f1 = [f1_score(y[:, i], s[:, i] > 0.5, zero_division=0.0) for y, s in folds]
        assert table.loc[label, "f1_mean"] == pytest.approx(np.mean(f1))
        assert table.loc[label, "f1_std"] == pytest.approx(np.std(f1))
        defined = [(y[:, i], s[:, i]) for y, s in folds if len(set(y[:, i])) == 2]
        auc = [roc_auc_score(*pair) for pair in defined]
        assert table.loc[label, "roc_auc_mean"] == pytest.approx(np.mean(auc))
        assert table.loc[label, "roc_auc_folds"] == len(auc)
        support = table.loc[label, "support_mean"] * len(folds)
        assert support == pytest.approx(evaluation.dataset.y[:, i].sum())


def test_rare_labels_are_scored_in_the_folds_that_have_them(make_config):
    table = labels_table(random_evaluation(make_config, make_rare_labels())).set_index("label")
    assert table["roc_auc_folds"].tolist() == [4, 1, 0]
    assert table["average_precision_folds"].tolist() == [4, 1, 0]
    assert table.loc["y1", "roc_auc_std"] == 0
    assert table.loc["y2", ["roc_auc_mean", "roc_auc_std"]].isna().all()
    assert table.loc["y2", "support_mean"] == 0


def test_the_folds_table_counts_undefined_labels(make_config):
    table = folds_table(random_evaluation(make_config, make_rare_labels()))
    assert table["roc_auc_macro_left_out"].tolist() == [1, 2, 2, 2]
    assert "accuracy_left_out" not in table
    complete = folds_table(random_evaluation(make_config, ALL_LABELS_IN_ALL_FOLDS))
    assert not any(column.endswith("left_out") for column in complete)


def test_base_rates_are_scores_without_knowledge(make_config):
    evaluation = random_evaluation(make_config)
    table, y = labels_table(evaluation), evaluation.dataset.y
    yes, order = np.ones(len(y)), np.zeros(len(y))
    for label, column in enumerate(y.T):
        base = {name: table[f"{name}_base"][label] for name in ("f1", "roc_auc", "precision")}
        assert base["f1"] == pytest.approx(f1_score(column, yes))
        assert base["precision"] == pytest.approx(column.mean())
        assert base["roc_auc"] == roc_auc_score(column, order)
        ap = average_precision_score(column, order)
        assert table["average_precision_base"][label] == pytest.approx(ap)


@pytest.mark.parametrize("rows_at_once", [1, 25, 1000])
def test_predictions_are_written_a_few_folds_at_a_time(
    make_config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows_at_once: int
) -> None:
    evaluation = random_evaluation(make_config)  # 4 folds of 10 rows
    monkeypatch.setattr(artifacts, "MAX_CELLS", rows_at_once * evaluation.dataset.n_labels)
    artifacts.write_predictions(tmp_path / "predictions.parquet", evaluation)
    n_parts = {1: 4, 25: 2, 1000: 1}[rows_at_once]
    assert pq.ParquetFile(tmp_path / "predictions.parquet").num_row_groups == n_parts
    written = pd.read_parquet(tmp_path / "predictions.parquet")
    pd.testing.assert_frame_equal(written, predictions_table(evaluation))
