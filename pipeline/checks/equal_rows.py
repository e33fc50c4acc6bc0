"""Check for equal, or nearly equal, rows on both sides of a split."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.checks.finding import Finding
from pipeline.cv import Split
from pipeline.dataset import Dataset, DataSummary
from pipeline.dataset.duplicate_rows import first_rows
from pipeline.matrix_blocks import read_columns

MAX_ROWS, MAX_CELLS = 50_000, 5_000_000  # of a table that is searched for nearly equal rows
DECIMALS = 3  # of features in standard deviations, up to which rows are nearly equal
MIN_RATIO = 2.0  # of equal rows to those of independent features
MIN_COPIED = 0.5  # of the rows that are equal to one decimal less


def check_equal_rows(
    dataset: Dataset, summary: DataSummary, splits: Sequence[Split]
) -> Iterator[Finding]:
    """Find test rows with the features of a training row, exactly or but for small differences.

    Rows in which no label is known neither train a model nor score it, so they do not count.

    Rows are equal by chance, too, if there are few features or few values. So there have to be more
    of them than independent features with the same values would have, and hardly less than there
    are with coarser values.
    """
    is_small = dataset.n_samples <= MAX_ROWS and dataset.X.size <= MAX_CELLS
    if not splits or (not summary.n_duplicates and not is_small):
        return
    if dataset.label_mask is not None:
        is_labelled = np.asarray(dataset.label_mask.any(axis=1))
        splits = [_labelled(split, is_labelled) for split in splits]
    X = _round(dataset.X, DECIMALS) if is_small else dataset.X
    n_shared = _count_shared(X, splits)
    if not n_shared or n_shared <= MIN_RATIO * _expected_by_chance(X, splits):
        return
    if is_small and n_shared < MIN_COPIED * _count_shared(_round(X, DECIMALS - 1), splits):
        return
    n_equal = _count_shared(dataset.X, splits) if summary.n_duplicates else 0
    similar = "the" if n_equal == n_shared else "the, or nearly the," if n_equal else "nearly the"
    yield Finding(
        "MF006",
        f"{n_shared / sum(len(it.test) for it in splits):.1%} of the test rows have {similar} "
        "features of a training row",
        "Scores are too high if such rows are copies: dataset.drop_duplicates=true leaves "
        "equal ones out, cv=group_kfold with dataset.group_column=... keeps copies together",
    )


def _labelled(split: Split, is_labelled: NDArray[np.bool_]) -> Split:
    """Return the rows of a split in which a label is known."""
    train, test = (rows[is_labelled[rows]] for rows in (split.train, split.test))
    return replace(split, train=train, test=test)


def _round(X: NDArray[np.float32], decimals: int) -> NDArray[np.float32]:
    """Round each feature, in units of its standard deviation."""
    with np.errstate(invalid="ignore"):
        scale = np.std(X, axis=0, where=np.isfinite(X), dtype=np.float64)
    return np.round(X / np.where(scale > 0, scale, 1.0), decimals).astype(np.float32)


def _count_shared(X: NDArray[np.float32], splits: Sequence[Split]) -> int:
    """Return the number of test rows, in all folds, that are equal to a training row."""
    same, n_shared = first_rows(X), 0
    for split in splits:
        is_trained = np.zeros(len(same), dtype=bool)
        is_trained[same[split.train]] = True
        n_shared += int(is_trained[same[split.test]].sum())
    return n_shared


def _expected_by_chance(X: NDArray[np.float32], splits: Sequence[Split]) -> float:
    """Return the expected number of such test rows if the features were independent."""
    log = np.zeros(len(X))  # of the probability that another row has the values of a row
    with np.errstate(divide="ignore"):
        for values in read_columns(X, np.arange(len(X)), np.arange(X.shape[1])):
            _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
            log += np.log((counts - 1) / (len(X) - 1))[codes]
    p = np.exp(log)
    return sum(float(-np.expm1(-len(it.train) * p[it.test]).sum()) for it in splits)
