"""Folds whose training or test rows do not know a label, against tables made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, hamming_loss

from pipeline.comparison.rescoring import rescore
from pipeline.cv.splitters import Split
from pipeline.dataset.dataset import Dataset
from pipeline.decision import learn_rule
from pipeline.evaluation import evaluator
from pipeline.evaluation.evaluator import Evaluator
from pipeline.prediction.thresholds import ChosenThresholds
from pipeline.preprocessing.table_schema import TableSchema
from pipeline.report.tables import held_out_predictions, labels_table, predictions_table
from pipeline.scoring.held_out import read_predictions

N = 60
FIRST, SECOND = np.arange(30), np.arange(30, 60)


@pytest.fixture(scope="module")
def dataset():
    """Make three labels: the second is known in the last 30 rows alone, the third in most rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3)).astype(np.float32)
    y = (X + 0.5 * rng.normal(size=(N, 3)) > 0).astype(np.int8)
    mask = np.ones((N, 3), dtype=bool)
    mask[:30, 1] = False
    mask[::5, 2] = False
    schema = TableSchema.of_numbers(["x", "y", "z"])
    return Dataset("table", X, y * mask, schema, ("a", "b", "c"), label_mask=mask)


@pytest.fixture(scope="module")
def evaluation(make_config, dataset):
    """Test the last rows by a model of the first, then the other way round."""
    config = make_config(
        "model=logistic", "scoring.metrics=[f1_macro,hamming_loss,accuracy]", "cv.n_repeats=1"
    )
    splits = [Split(0, 0, FIRST, SECOND), Split(0, 1, SECOND, FIRST)]
    evaluator = Evaluator(config, dataset, splits)
    list(evaluator.folds(lambda n: None))
    return evaluator.evaluation()


def test_labels_that_are_not_known_are_shown_as_such(dataset):
    assert [dataset.label_value(0, label) for label in range(3)] == [str(dataset.y[0, 0]), "?", "?"]
    assert dataset.label_value(31, 1) == str(dataset.y[31, 1])


def test_a_label_that_no_training_row_knows_is_left_out_of_the_fold_and_counted(
    dataset, evaluation
):
    for fold in evaluation.folds:  # the second label is unknown in either half of the split
        y, given = dataset.y[fold.split.test], dataset.label_mask[fold.split.test]
        f1 = [f1_score(y[given[:, j], j], fold.y_pred[given[:, j], j]) for j in (0, 2)]
        assert fold.scores["f1_macro"] == pytest.approx(np.mean(f1))
        assert fold.n_undefined_labels["f1_macro"] == 1
        cells = [np.concatenate([v[given[:, j], j] for j in (0, 2)]) for v in (y, fold.y_pred)]
        assert fold.scores["hamming_loss"] == pytest.approx(hamming_loss(*cells))
    assert evaluation.summary["f1_macro"].n_undefined_labels == 2
    assert evaluation.summary["accuracy"].n_partial_rows == N  # no row has a score of each label


def test_tables_by_label_and_stored_predictions_leave_it_out_as_well(evaluation, tmp_path):
    by_label = labels_table(evaluation).set_index("label")
    assert np.isnan(by_label.loc["b", "f1_mean"])
    assert np.isfinite(by_label.loc[["a", "c"], "f1_mean"]).all()

    predictions_table(evaluation).to_parquet(tmp_path / "predictions.parquet")
    stored = read_predictions(tmp_path / "predictions.parquet")
    assert not stored.mask[:, 1].any()
    assert stored.mask[:, 0].all()
    np.testing.assert_array_equal(stored.mask, held_out_predictions(evaluation).mask)
    rule = evaluation.folds[0].rule
    chosen = ChosenThresholds(("a", "b", "c"), rule.threshold)
    rescored = rescore(stored, chosen, evaluation.config.scoring)
    for name, values in rescored.items():
        scores = [fold.scores[name] for fold in evaluation.folds]
        np.testing.assert_allclose(values, scores, rtol=1e-6)


def test_rows_of_early_stopping_count_as_training_rows_in_inner_folds_too(
    make_config, dataset, monkeypatch
):
    config = make_config(
        *("model=xgboost", "model.params.n_estimators=2", "cv.n_repeats=1", "seed=2"),
        *("decision.threshold=per_label", "training.early_stopping.patience=1"),
    )
    mask = dataset.label_mask.copy()
    mask[:, 1] = False
    mask[[5, 25, 35, 55], 1] = True
    masks = []

    def learn(config, y_true, y_score, scoring, mask, weights):
        masks.append(mask)
        return learn_rule(config, y_true, y_score, scoring, mask, weights)

    monkeypatch.setattr(evaluator, "learn_rule", learn)
    splits = [Split(0, 0, FIRST, SECOND), Split(0, 1, SECOND, FIRST)]
    evaluation = Evaluator(config, replace(dataset, label_mask=mask), splits)
    list(evaluation.folds(lambda n: None))
    of_training, of_fitting = [], []  # with the rows of early stopping, and without
    for plan in (*evaluation._fold_plans, evaluation._final_plan):
        fits = [evaluation._fits[indices[0]] for indices in plan.inner]
        for cells, with_valid in ((of_training, True), (of_fitting, False)):
            trains = [np.r_[fit.train, fit.valid[: len(fit.valid) * with_valid]] for fit in fits]
            parts = zip(fits, trains, strict=True)
            cells.append(np.concatenate([mask[f.test] & mask[t].any(axis=0) for f, t in parts]))
    for given, expected in zip(masks, of_training, strict=True):
        np.testing.assert_array_equal(given, expected)
    assert any((one != other).any() for one, other in zip(of_training, of_fitting, strict=True))


def test_a_label_that_some_training_row_knows_is_scored(make_config, dataset, evaluation):
    mask = dataset.label_mask.copy()
    mask[3, 1] = True
    given = replace(evaluation, dataset=replace(dataset, label_mask=mask))
    _, first, _ = given.targets(SECOND, FIRST)
    np.testing.assert_array_equal(first, mask[SECOND])
    np.testing.assert_array_equal(given.held_out_targets()[1], mask[np.r_[SECOND, FIRST]])
