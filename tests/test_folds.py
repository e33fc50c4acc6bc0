"""Folds that the data bring along."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.dataset import Dataset
from pipeline.dataset.folds import join, read_folds
from pipeline.errors import UserError


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["train", "Test", " train "], [-1, 0, -1]),
        ([3, "1", 2.0, np.int8(-1)], [3, 1, 2, -1]),
        ([], []),
    ],
)
def test_numbers_and_words_become_folds(values: list[object], expected: list[int]) -> None:
    folds = read_folds(values, "column fold")
    assert folds.tolist() == expected
    assert folds.dtype == np.int64


@pytest.mark.parametrize("value", ["dev", 1.5, -2, None, float("nan"), "inf", ""])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(UserError, match=r"column fold: expected the number of a fold.* in row 1"):
        read_folds([0, value], "column fold")


def table(n: int) -> Dataset:
    return Dataset(
        name="half",
        X=np.full((n, 2), float(n)),
        y=np.ones((n, 2), dtype=np.int8),
        feature_names=("a", "b"),
        label_names=("p", "q"),
    )


def test_train_and_test_become_one_table() -> None:
    both = join(table(2), table(1), "whole")
    assert both.name == "whole"
    assert both.X[:, 0].tolist() == [2, 2, 1]
    assert both.y.shape == (3, 2)
    assert both.fold is not None
    assert both.fold.tolist() == [-1, -1, 0]
    assert both.digest not in (table(2).digest, table(1).digest)


def test_halves_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"same labels in train and test.*in one .* only: q, r"):
        join(table(2), replace(table(1), label_names=("p", "r")), "whole")
    with pytest.raises(UserError, match=r"same features.*in another order"):
        join(table(2), replace(table(1), feature_names=("b", "a")), "whole")
