"""Checks of a data set and its folds, before any training."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.checks.equal_rows import check_equal_rows
from pipeline.checks.finding import Finding, count_of, list_names
from pipeline.checks.leaks import check_leaks, some_rows, sum_by_code
from pipeline.config import Config, CvConfig, TableConfig, format_setting, format_value
from pipeline.cv import Split
from pipeline.dataset import Dataset, DataSummary
from pipeline.dataset.suspicious_columns import find_row_ids

MAX_LABELS = 100  # that are compared within groups
GROUP_SIZES = (2, 50)  # mean number of rows per value of a column that may be a group
MIN_GROUPS = 20
MIN_AGREEMENT = 0.1  # of labels within values, beyond that between neighbouring values
MIN_T = 5.0
TIMES = {"datetime"}
SHUFFLED = {"repeated_kfold", "multilabel_stratified", "shuffle_split"}
MAX_RATIO = 1000.0  # of the deviations of two features

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
        lambda: check_leaks(dataset),
        lambda: _check_ids(config, dataset),
        lambda: check_equal_rows(dataset, summary, splits),
        lambda: _check_groups(config.cv, dataset),
        lambda: _check_dates(config.cv, dataset),
        lambda: _check_rare_labels(dataset),
        lambda: _check_constant(summary),
        lambda: _check_scales(config, dataset),
    )
    return [finding for check in checks for finding in check()]


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
    sums, sizes = sum_by_code(codes, y, len(counts)), counts[:, None].astype(np.float64)
    if mask is not None:
        sizes = sum_by_code(codes, mask, len(counts))
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
    X = dataset.X[some_rows(dataset)]
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
