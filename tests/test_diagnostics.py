"""Warnings about splits."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.config.schema_data import PredefinedConfig, TimeSeriesConfig
from pipeline.cv.diagnostics import check_splits
from pipeline.cv.splitters import make_splits
from tests.test_splitters import kfold, table


def test_warnings_name_labels_folds_and_a_hint() -> None:
    y = np.zeros((20, 4), dtype=np.int8)
    y[:, 0] = 1  # everywhere
    y[:10, 1] = 1  # enough for ten folds, but all in the first half
    y[0, 2] = 1  # once; the fourth never
    dataset = table(y, fold=np.repeat([0, 1], 10))
    config = PredefinedConfig(kind="predefined", outer_splits=None)
    training, test = check_splits(config, dataset, make_splits(config, dataset))
    assert (training.problem, training.labels) == ("No training row has", (("y1", 1), ("y2", 1)))
    assert (test.problem, test.labels) == ("No test row has", (("y1", 1), ("y2", 1)))
    assert (test.n_folds, test.n_splits) == (1, 2)
    assert test.hint == (
        "try cv=multilabel_stratified; a label of fewer than 2 rows cannot be in all folds; "
        "'dataset.drop=[y2]' would help."
    )
    warnings = check_splits(config, dataset, make_splits(config, dataset), can_drop=False)
    assert "other data without it would help" in warnings[1].hint


def test_a_label_that_no_training_row_knows_is_named_as_such() -> None:
    y = np.ones((20, 2), dtype=np.int8)
    mask = np.ones_like(y, dtype=bool)
    mask[:10, 1] = False  # the fold that is tested second is the only one that knows it
    dataset = replace(table(y, fold=np.repeat([0, 1], 10)), label_mask=mask)
    config = PredefinedConfig(kind="predefined", outer_splits=None)
    training, test = check_splits(config, dataset, make_splits(config, dataset))
    assert (training.problem, training.labels) == ("No training row knows", (("y1", 1),))
    assert training.hint == "try cv=multilabel_stratified."
    assert (test.problem, test.labels) == ("No test row knows", (("y1", 1),))


def test_a_stratified_splitter_is_not_suggested_to_itself() -> None:
    y = np.zeros((20, 1), dtype=np.int8)
    y[:4] = 1
    config = kfold("multilabel_stratified", 5)
    (warning,) = check_splits(config, table(y), make_splits(config, table(y)))
    assert warning.labels == (("y0", 1),)
    assert warning.hint == (
        "a label of fewer than 5 rows cannot be in all folds; cv.n_splits=4 would help."
    )
    config = kfold("multilabel_stratified", 4)
    assert check_splits(config, table(y), make_splits(config, table(y))) == []


def test_larger_windows_are_suggested_to_a_time_series() -> None:
    y = np.zeros((20, 1), dtype=np.int8)
    y[:10] = 1
    dataset = replace(table(y), times=np.arange(20))
    sizes = {"test_size": 5, "max_train_size": None, "gap": 0, "outer_splits": None}
    config = TimeSeriesConfig(kind="time_series", n_splits=2, **sizes)
    (warning,) = check_splits(config, dataset, make_splits(config, dataset))
    assert warning.hint == "try fewer or larger windows, cv.n_splits or cv.test_size."


def test_divided_groups_are_a_warning() -> None:
    dataset = table(np.ones((20, 1), dtype=np.int8), np.arange(20) // 2)
    config = kfold("repeated_kfold")
    (warning,) = check_splits(config, dataset, make_splits(config, dataset))
    assert warning.problem == "Rows of one group both train and test"
    config = kfold("group_kfold")
    assert check_splits(config, dataset, make_splits(config, dataset)) == []


@pytest.mark.parametrize(("n_repeats", "n_folds"), [(1, None), (3, 6)])
def test_equal_repeats_are_a_warning(n_repeats: int, n_folds: int | None) -> None:
    dataset = table(np.ones((6, 1), dtype=np.int8), np.repeat([0, 1, 2], 2))
    config = kfold("group_kfold", 3, n_repeats)
    split_warnings = check_splits(config, dataset, make_splits(config, dataset))
    assert [warning.n_folds for warning in split_warnings] == ([n_folds] if n_folds else [])
    if split_warnings:
        assert "cv.n_repeats=1" in split_warnings[0].hint
