"""Checks of a data set and its folds, before any training."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import rankdata

from pipeline.checks.equal_rows import check_equal_rows
from pipeline.checks.finding import Finding, count_of, list_names
from pipeline.config import Config, CvConfig, TableConfig, format_setting, format_value
from pipeline.cv import Split
from pipeline.dataset import Dataset, DataSummary
from pipeline.dataset.suspicious_columns import find_row_ids

MAX_CELLS = 5_000_000  # of features and of labels; of larger tables, some rows are looked at
MAX_LABELS = 100  # that are compared within groups, or have an AUC where some are not known
LEAKING_AUC = 0.995  # of one column for one label
MIN_CASES = 10  # rows with and without a label
GROUP_SIZES = (2, 50)  # mean number of rows per value of a column that may be a group
MIN_GROUPS = 20
MIN_AGREEMENT = 0.1  # of labels within values, beyond that between neighbouring values
MIN_T = 5.0
TIMES = {"datetime"}
SHUFFLED = {"repeated_kfold", "multilabel_stratified", "shuffle_split"}
MAX_RATIO = 1000.0  # of the deviations of two features
SEED = 0

Floats = NDArray[np.float64]


def check_data(
    config: Config, dataset: Dataset, summary: DataSummary, splits: Sequence[Split]
) -> list[Finding]:
    """Check a data set and its folds.

    Args:
        config: The configuration.
        dataset: The data set.
        summary: Its summary.
        splits: Training and test rows of each fold; empty if no folds are possible.
    """
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _check_leaks(dataset),
        lambda: _check_ids(config, dataset),
        lambda: check_equal_rows(dataset, summary, splits),
        lambda: _check_groups(config.cv, dataset),
        lambda: _check_dates(config.cv, dataset),
        lambda: _check_rare_labels(dataset),
        lambda: _check_constant(summary),
        lambda: _check_scales(config, dataset),
    )
    return [finding for check in checks for finding in check()]


def _check_leaks(dataset: Dataset) -> Iterator[Finding]:
    """Find features whose values order the rows by a label almost perfectly."""
    rows = _some_rows(dataset)
    mask = None if dataset.label_mask is None else dataset.label_mask[rows]
    n_true = dataset.y[rows].sum(axis=0)
    n_false = (len(rows) if mask is None else mask.sum(axis=0)) - n_true
    judged = np.flatnonzero((n_true >= MIN_CASES) & (n_false >= MIN_CASES))
    if mask is None:
        auc = _column_auc(dataset, rows, judged)
    else:
        judged = judged[np.argsort(-n_true[judged], kind="stable")[:MAX_LABELS]]
        auc = np.full((dataset.n_features, len(judged)), 0.5)
        for column, label in enumerate(judged):
            auc[:, [column]] = _column_auc(dataset, rows[mask[:, label]], judged[[column]])
    strength = np.maximum(auc, 1 - auc)
    features = np.flatnonzero((strength >= LEAKING_AUC).any(axis=1))
    if not len(features):
        return
    best = sorted(features.tolist(), key=lambda feature: -strength[feature].max())
    named = list_names(
        f"{dataset.feature_names[feature]!r} {dataset.label_names[judged[label]]} "
        f"(ROC AUC {strength[feature, label]:.3f})"
        for feature in best
        for label in [strength[feature].argmax()]
    )
    subject = "1 feature gives" if len(best) == 1 else f"{len(best)} features give"
    yield Finding(
        "MF004",
        f"{subject} a label away by itself: {named}",
        "Leave out what is not known when the labels are to be predicted: "
        f"'dataset.drop=[{format_value(dataset.feature_names[best[0]])}]'",
    )


def _check_ids(config: Config, dataset: Dataset) -> Iterator[Finding]:
    names = others = find_row_ids(config.dataset, dataset)
    if not names:
        return
    remedies = []
    if isinstance(config.dataset, TableConfig) and config.dataset.id_column is None:
        others = names[1:]
        remedies.append(f"name it: {format_setting('dataset.id_column', names[0])}")
    if others:
        remedies.append(f"leave out {list_names(others)}")
        if hasattr(config.dataset, "drop"):
            remedies[-1] += f": {format_setting('dataset.drop', others)}"
    remedy = ", and ".join(remedies)
    yield Finding(
        "MF005",
        f"{list_names(names)} {'is an id' if len(names) == 1 else 'are ids'} of the rows, with "
        f"another value in (nearly) each of {dataset.n_samples:,} rows, which a model learns by "
        "heart",
        remedy[0].upper() + remedy[1:],
    )


def _some_rows(dataset: Dataset) -> NDArray[np.int64]:
    n = max(1000, MAX_CELLS // max(1, dataset.n_features, dataset.n_labels))
    rows = np.arange(dataset.n_samples)
    if len(rows) <= n:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, n, replace=False))


def _column_auc(dataset: Dataset, rows: NDArray[np.int64], labels: NDArray[np.int64]) -> Floats:
    """Return the ROC AUC of each feature for each label, of shape (n_features, n_labels).

    Categories are ordered by the frequency of the label in every other row, and judged by the rest.
    """
    y = dataset.y[rows][:, labels].astype(np.float64)
    auc = np.full((dataset.n_features, len(labels)), 0.5)
    if not len(labels):
        return auc
    is_number = dataset.schema.is_numeric
    for feature in np.flatnonzero(dataset.schema.is_categorical):
        auc[feature] = _category_auc(dataset.X[rows, feature], y)
    if len(numbers := np.flatnonzero(is_number)):
        X = np.where(np.isnan(dataset.X[rows][:, numbers]), -np.inf, dataset.X[rows][:, numbers])
        auc[numbers] = _auc_of_ranks(rankdata(X, axis=0), y)
    return auc


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
    rates = (_sums(codes[learnt], y[learnt], n_categories) + y.mean(axis=0)) / (
        n_learnt[:, None] + 1
    )
    true = _sums(codes[judged], y[judged], n_categories)
    others = n_judged[:, None] - true
    auc = np.full(y.shape[1], 0.5)
    for label in np.flatnonzero((true.sum(axis=0) > 0) & (others.sum(axis=0) > 0)):
        _, rank = np.unique(rates[:, label], return_inverse=True)
        n_true, n_others = (np.bincount(rank, table[:, label]) for table in (true, others))
        below = np.cumsum(n_others) - n_others / 2  # ties count half
        auc[label] = (n_true * below).sum() / (n_true.sum() * n_others.sum())
    return auc


def _sums(codes: NDArray[np.int64], y: NDArray[Any], n_codes: int) -> Floats:
    """Sum the labels of the rows of each code, of shape (n_codes, n_labels)."""
    rows = np.arange(len(codes))
    matrix = csr_array((np.ones(len(rows)), (codes, rows)), shape=(n_codes, len(rows)))
    return np.asarray(matrix @ y.astype(np.float64))


def _check_groups(config: CvConfig, dataset: Dataset) -> Iterator[Finding]:
    """Find columns whose equal values have equal labels, far more than neighbouring values."""
    if dataset.groups is not None or config.kind not in SHUFFLED:
        return
    smallest, largest = GROUP_SIZES
    range_of = np.ptp(dataset.X, axis=0)  # NaN where a value is missing
    labels = np.argsort(-dataset.y.sum(axis=0, dtype=np.int64), kind="stable")[:MAX_LABELS]
    for feature in np.flatnonzero(range_of + 1 >= max(MIN_GROUPS, dataset.n_samples / largest)):
        column, values = dataset.schema.columns[feature], dataset.X[:, feature]
        if column.kind in (*TIMES, "text") or (values != np.round(values)).any():
            continue
        _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
        if len(counts) < MIN_GROUPS or not smallest <= len(codes) / len(counts) <= largest:
            continue
        mask = None if dataset.label_mask is None else dataset.label_mask[:, labels]
        agreement, t = _agreement(codes, counts, dataset.y[:, labels], mask)
        if agreement > MIN_AGREEMENT and t > MIN_T:
            name = format_value(column.name)
            yield Finding(
                "MF007",
                f"rows with the same {column.name!r} ({len(counts)} values) agree in their labels "
                f"by {agreement:.2f} more than rows with neighbouring values, as rows of one group",
                "If new rows come from new groups, keep groups together: "
                f"cv=group_kfold 'dataset.group_column={name}'",
            )


def _agreement(
    codes: NDArray[np.int64],
    counts: NDArray[np.int64],
    y: NDArray[np.int8],
    mask: NDArray[np.bool_] | None,
) -> tuple[float, float]:
    """Return how much more rows of a value agree than rows of neighbouring values, and its t."""
    sums, sizes = _sums(codes, y, len(counts)), counts[:, None].astype(np.float64)
    if mask is not None:
        sizes = _sums(codes, mask, len(counts))
    is_used = counts >= 2
    if is_used.sum() < MIN_GROUPS:
        return 0.0, 0.0
    sums, sizes = sums[is_used], sizes[is_used]
    zeros = sizes - sums
    with np.errstate(invalid="ignore", divide="ignore"):  # of labels that the rows do not know
        within = (sums * (sums - 1) + zeros * (zeros - 1)) / (sizes * (sizes - 1))
        rates = sums / sizes
    between = rates[:-1] * rates[1:] + (1 - rates[:-1]) * (1 - rates[1:])
    difference = np.ma.compressed(np.ma.masked_invalid(within[:-1] - between).mean(axis=1))
    if len(difference) < MIN_GROUPS - 1:
        return 0.0, 0.0
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return float(difference.mean()), float(difference.mean() / error) if error > 0 else 0.0


def _check_dates(config: CvConfig, dataset: Dataset) -> Iterator[Finding]:
    if config.kind not in SHUFFLED:
        return
    dates = [column.name for column in dataset.schema.columns if column.kind in TIMES]
    what = f"{list_names(dates)} {'is a date' if len(dates) == 1 else 'are dates'}"
    way = "cv=time_series"
    if dataset.times is not None:
        what = "the rows have times"
    elif dates:
        way += f" 'dataset.time_column={format_value(dates[0])}'"
    else:
        return
    yield Finding(
        "MF008",
        f"{what}, but the folds are shuffled, so that later rows train the model that earlier ones "
        "test",
        f"If later rows are to be predicted, train on earlier ones alone: {way}",
    )


def _check_rare_labels(dataset: Dataset) -> Iterator[Finding]:
    n_true = dataset.y.sum(axis=0, dtype=np.int64)
    mask = dataset.label_mask
    n_rows = dataset.n_samples if mask is None else mask.sum(axis=0, dtype=np.int64)
    for few, what in ((n_true, "with"), (n_rows - n_true, "without")):
        rare = np.flatnonzero(few < 5)
        if len(rare):
            names = list_names(f"{dataset.label_names[j]} ({few[j]})" for j in rare)
            yield Finding(
                "MF009",
                f"fewer than 5 rows {what} {count_of(len(rare), dataset.n_labels, 'label')}, too "
                f"few to judge: {names}",
                "Their scores hang on a few rows; metrics that average over rows or all cells, "
                "such as f1_micro, do not depend on them as f1_macro does",
            )


def _check_constant(summary: DataSummary) -> Iterator[Finding]:
    if summary.constant:
        yield Finding(
            "MF017",
            f"only one value, or none, in {count_of(len(summary.constant), summary.n_features)}: "
            f"{list_names(summary.constant)}",
            "They teach a model nothing; to leave one out: "
            f"'dataset.drop=[{format_value(summary.constant[0])}]'",
        )


def _check_scales(config: Config, dataset: Dataset) -> Iterator[Finding]:
    if config.preprocessing.scaling != "none" or config.model.kind == "sklearn":
        return
    X = dataset.X[_some_rows(dataset)]
    X = X[:, dataset.schema.is_numeric]
    with np.errstate(invalid="ignore"):
        scale = np.std(X, axis=0, where=np.isfinite(X), dtype=np.float64)
    scale = scale[np.isfinite(scale) & (scale > 0)]
    if len(scale) and (ratio := scale.max() / scale.min()) > MAX_RATIO:
        yield Finding(
            "MF018",
            "the standard deviations of the features differ by a factor of "
            f"{ratio:,.0f}, which hinders the training of a network",
            "Scale them: preprocessing=standard",
        )
