"""Tables from an evaluation made by hand, and what the console says of it."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from pipeline import console
from pipeline.dataset.loading import load
from pipeline.report.artifacts import folds_table, labels_table
from tests.made_up import METRICS, make_evaluation


def evaluate(make_config, y=None, metrics=METRICS, n_folds=4):
    """Return an evaluation of 40 rows whose probabilities are drawn at random."""
    config = make_config("dataset.n_samples=40", metrics)
    dataset = load(config.dataset)
    if y is not None:
        dataset.y[:] = y
    return make_evaluation(config, dataset, n_folds=n_folds)


@pytest.fixture
def rare():
    """Labels of 40 rows: one common, one in the first fold alone, one never present."""
    y = np.zeros((40, 3), dtype=np.int8)
    y[::2, 0] = 1
    y[[1, 4], 1] = 1
    return y


def test_labels_have_mean_and_deviation_over_folds(make_config):
    evaluation = evaluate(make_config)
    table = labels_table(evaluation).set_index("label")
    assert list(table.index) == ["y0", "y1", "y2"]
    tests = [(evaluation.dataset.y[f.split.test], f.y_score) for f in evaluation.folds]
    for i, label in enumerate(table.index):
        f1 = [f1_score(y[:, i], s[:, i] > 0.5, zero_division=0.0) for y, s in tests]
        assert table.loc[label, "f1_mean"] == pytest.approx(np.mean(f1))
        assert table.loc[label, "f1_std"] == pytest.approx(np.std(f1))
        both = [(y[:, i], s[:, i]) for y, s in tests if len(set(y[:, i])) == 2]
        auc = [roc_auc_score(*one) for one in both]
        assert table.loc[label, "roc_auc_mean"] == pytest.approx(np.mean(auc))
        assert table.loc[label, "roc_auc_folds"] == len(auc)
        support = table.loc[label, "support_mean"] * len(tests)
        assert support == pytest.approx(evaluation.dataset.y[:, i].sum())


def test_rare_labels_are_scored_where_they_can_be(make_config, rare):
    table = labels_table(evaluate(make_config, rare)).set_index("label")
    assert table["roc_auc_folds"].tolist() == [4, 1, 0]
    assert table["average_precision_folds"].tolist() == [4, 1, 0]
    assert table.loc["y1", "roc_auc_std"] == 0
    assert table.loc["y2", ["roc_auc_mean", "roc_auc_std"]].isna().all()
    assert table.loc["y2", "support_mean"] == 0


def test_folds_tell_how_many_labels_they_leave_out(make_config, rare):
    table = folds_table(evaluate(make_config, rare))
    assert table["roc_auc_macro_left_out"].tolist() == [1, 2, 2, 2]
    assert "accuracy_left_out" not in table
    whole = folds_table(evaluate(make_config, np.tile(np.eye(4, 3, dtype=np.int8), (10, 1))))
    assert not any(column.endswith("left_out") for column in whole)


def show(evaluation, capsys) -> list[str]:
    console.show_fold(evaluation.folds[0].scores[next(iter(evaluation.summary))])
    console.show_result(evaluation.summary)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_the_screen_tells_what_is_left_out(make_config, rare, capsys):
    lines = show(evaluate(make_config, rare), capsys)
    assert lines[0].startswith(">0.")
    assert lines[1].startswith("Accuracy: 0.")
    assert lines[2].split() == ["metric", "mean", "std", "95%", "interval", "of", "the", "mean"]
    assert [line.split("  ")[0] for line in lines[3:7]] == [
        *("Accuracy", "F1 macro", "ROC AUC macro", "Average precision macro"),
    ]
    assert lines[7:] == [
        "ROC AUC macro: undefined for 7 labels within folds; left out of the means",
        "Average precision macro: undefined for 7 labels within folds; left out of the means",
    ]


def test_a_metric_undefined_in_folds_says_so(make_config, rare, capsys):
    rare[:20] = 0
    lines = show(evaluate(make_config, rare, "scoring.metrics=[roc_auc_macro]"), capsys)
    undefined = "undefined in 2 of 4 folds and for 4 labels within folds; left out of the means"
    assert lines[-1] == f"ROC AUC macro: {undefined}"


def test_a_metric_that_is_never_defined_has_no_number(make_config, rare, capsys):
    metrics = "scoring.metrics=[roc_auc_macro,accuracy]"
    evaluation = evaluate(make_config, rare * 0, metrics)
    fold, headline, _, row, _, note = show(evaluation, capsys)
    assert fold == ">undefined"
    assert headline == "ROC AUC macro: undefined"
    assert row.split() == ["ROC", "AUC", "macro", "undefined"]
    assert note == "ROC AUC macro: undefined in 4 of 4 folds; left out of the means"


def test_nothing_is_said_where_nothing_is_left_out(make_config, capsys):
    y = np.tile(np.eye(4, 3, dtype=np.int8), (10, 1))
    assert len(show(evaluate(make_config, y), capsys)) == 7
