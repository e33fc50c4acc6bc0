"""Check for features that give a label away, and areas under the ROC curve of single features."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import rankdata

from pipeline.checks.finding import Finding, list_names
from pipeline.config import format_value
from pipeline.dataset import Dataset

MAX_CELLS = 5_000_000  # of features and of labels; of larger tables, some rows are looked at
MAX_RANKED = 2**20  # values, and areas, that are held in float64 at once
MAX_LABELS = 100  # that are judged by categories where labels are not known
LEAKING_AUC = 0.995  # of one column for one label
MIN_CASES = 10  # rows with and without a label
MIN_ROWS = 40  # rows that know a label; by chance, fewer are in perfect order too often
SEED = 0

Floats = NDArray[np.float64]


def check_leaks(dataset: Dataset) -> Iterator[Finding]:
    """Find features whose values order the rows by a label almost perfectly."""
    rows = some_rows(dataset)
    mask = None if dataset.label_mask is None else dataset.label_mask[rows]
    n_true = dataset.y[rows].sum(axis=0)
    n_rows = np.full(len(n_true), len(rows)) if mask is None else mask.sum(axis=0)
    n_fewest = np.minimum(n_true, n_rows - n_true)
    judged = np.flatnonzero(n_fewest >= MIN_CASES)
    if mask is not None:
        judged = judged[n_rows[judged] >= MIN_ROWS]
    if not len(judged):
        return
    areas: Iterable[Floats]
    if mask is None:
        n_parts = -(-dataset.n_features * max(len(rows), len(judged)) // MAX_RANKED)
        parts = np.array_split(np.arange(dataset.n_features), n_parts)
        areas = (_column_auc(dataset, rows, judged, features) for features in parts)
    else:
        areas = [_masked_auc(dataset, rows, judged, mask[:, judged])]
    strongest = [_strongest(auc) for auc in areas]
    strength, label = map(np.concatenate, zip(*strongest, strict=True))
    features = np.flatnonzero(strength >= LEAKING_AUC)
    if not len(features):
        return
    best = sorted(features.tolist(), key=lambda feature: -strength[feature])
    named = list_names(
        f"{dataset.feature_names[feature]!r} {dataset.label_names[judged[label[feature]]]} "
        f"(ROC AUC {strength[feature]:.3f})"
        for feature in best
    )
    subject = "1 feature gives" if len(best) == 1 else f"{len(best)} features give"
    yield Finding(
        "MF004",
        f"{subject} a label away by itself: {named}",
        "Leave out what is not known when the labels are to be predicted: "
        f"'dataset.drop=[{format_value(dataset.feature_names[best[0]])}]'",
    )


def _strongest(auc: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return how well each feature orders the rows by any label, and that label's position."""
    strength = np.maximum(auc, 1 - auc)
    return strength.max(axis=1), strength.argmax(axis=1)


def some_rows(dataset: Dataset) -> NDArray[np.int64]:
    """Return all rows of a table, or as many as checks can look at."""
    n = max(1000, MAX_CELLS // max(1, dataset.n_features, dataset.n_labels))
    rows = np.arange(dataset.n_samples)
    if len(rows) <= n:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, n, replace=False))


def _column_auc(
    dataset: Dataset,
    rows: NDArray[np.integer],
    labels: NDArray[np.int64],
    features: NDArray[np.int64],
) -> Floats:
    """Return the ROC AUC of some features for each label, of shape (n_features, n_labels).

    Categories are ordered by the frequency of the label in every other row, and judged by the rest.
    """
    y = dataset.y[rows][:, labels].astype(np.float64)
    auc = np.full((len(features), len(labels)), 0.5)
    for position in np.flatnonzero(dataset.schema.is_categorical[features]):
        auc[position] = _category_auc(dataset.X[rows, features[position]], y)
    if len(numbers := np.flatnonzero(dataset.schema.is_numeric[features])):
        X = _numbers(dataset, rows, features[numbers])
        auc[numbers] = _auc_of_ranks(rankdata(X, axis=0), y)
    return auc


def _masked_auc(
    dataset: Dataset, rows: NDArray[np.integer], labels: NDArray[np.int64], mask: NDArray[np.bool_]
) -> Floats:
    """Return what `_column_auc` does, each label judged by the rows that know it.

    The area is computed where it can be `LEAKING_AUC`, and is 0.5 elsewhere. The mean gap of the
    ranks of rows with and without a label is n (AUC - 0.5) for ranks among the n rows that know it.
    Ranks among all N rows are further apart in each pair, by no more than N, and no more than
    1 - AUC of the pairs are in the wrong order: so the gap is at least n (AUC - 0.5) - N (1 - AUC).
    Categories are judged for the `MAX_LABELS` most frequent labels.

    Args:
        dataset: The data set.
        rows: Some of its rows, of shape (n,).
        labels: Some of its labels, of shape (n_judged,).
        mask: True where a row knows a label, of shape (n, n_judged).
    """
    y = dataset.y[rows][:, labels]
    auc = np.full((dataset.n_features, len(labels)), 0.5)
    n_true = y.sum(axis=0, dtype=np.int64)
    categorical = np.flatnonzero(dataset.schema.is_categorical)
    for label in np.argsort(-n_true, kind="stable")[: MAX_LABELS if len(categorical) else 0]:
        cells = mask[:, label]
        for feature in categorical:
            of_label = y[cells, label].astype(np.float64)[:, None]
            auc[feature, label] = _category_auc(dataset.X[rows[cells], feature], of_label)[0]
    numbers = np.flatnonzero(dataset.schema.is_numeric)
    if not len(labels) or not len(numbers):
        return auc
    X = _numbers(dataset, rows, numbers)
    n_rows = mask.sum(axis=0, dtype=np.int64)
    gaps = rankdata(X, axis=0).T @ (y / n_true - (mask & (y == 0)) / (n_rows - n_true))
    smallest = n_rows * (LEAKING_AUC - 0.5) - len(rows) * (1 - LEAKING_AUC)
    can_leak = np.abs(gaps) >= smallest - 1e-6
    for label in np.flatnonzero(can_leak.any(axis=0)):
        cells, columns = mask[:, label], np.flatnonzero(can_leak[:, label])
        ranks = rankdata(X[cells][:, columns], axis=0)
        of_label = y[cells, label].astype(np.float64)[:, None]
        auc[numbers[columns], label] = _auc_of_ranks(ranks, of_label)[:, 0]
    return auc


def _numbers(dataset: Dataset, rows: NDArray[np.integer], features: NDArray[np.int64]) -> Floats:
    """Return numeric features of some rows, below all others where they are missing."""
    X = dataset.X[np.ix_(rows, features)]
    return np.where(np.isnan(X), -np.inf, X)


def _auc_of_ranks(ranks: Floats, y: Floats) -> Floats:
    """Return the ROC AUC of each column of ranks for each label."""
    n_true = y.sum(axis=0)
    n_others = len(y) - n_true
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = (ranks.T @ y - n_true * (n_true + 1) / 2) / (n_true * n_others)
    return np.where(np.isfinite(auc), auc, 0.5)


def _category_auc(values: NDArray[np.float32], y: Floats) -> Floats:
    """Return the ROC AUC of a column of categories for each label.

    The categories are ranked by their rates, and rows by the ranks of their categories.
    """
    _, codes = np.unique(values, return_inverse=True)
    learnt, judged = slice(0, None, 2), slice(1, None, 2)
    n_categories = int(codes.max()) + 1
    n_learnt, n_judged = (np.bincount(codes[it], minlength=n_categories) for it in (learnt, judged))
    rates = (sum_by_code(codes[learnt], y[learnt], n_categories) + y.mean(axis=0)) / (
        n_learnt[:, None] + 1
    )
    true = sum_by_code(codes[judged], y[judged], n_categories)
    others = n_judged[:, None] - true
    auc = np.full(y.shape[1], 0.5)
    for label in np.flatnonzero((true.sum(axis=0) > 0) & (others.sum(axis=0) > 0)):
        _, rank = np.unique(rates[:, label], return_inverse=True)
        n_true, n_others = (np.bincount(rank, table[:, label]) for table in (true, others))
        below = np.cumsum(n_others) - n_others / 2  # ties count half
        auc[label] = (n_true * below).sum() / (n_true.sum() * n_others.sum())
    return auc


def sum_by_code(codes: NDArray[np.int64], y: NDArray[Any], n_codes: int) -> Floats:
    """Sum the labels of the rows of each code, of shape (n_codes, n_labels)."""
    rows = np.arange(len(codes))
    matrix = csr_array((np.ones(len(rows)), (codes, rows)), shape=(n_codes, len(rows)))
    return np.asarray(matrix @ y.astype(np.float64))
