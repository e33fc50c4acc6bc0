"""Summary statistics of a data set."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.dataset import Dataset
from pipeline.dataset.duplicate_rows import first_rows, labels_differ
from pipeline.dataset.label_coverage import (
    LabelCoverage,
    count_pairs,
    count_patterns,
    most_frequent,
)
from pipeline.dataset.label_rates import LabelRates, label_rates
from pipeline.matrix_blocks import row_blocks

N_LABEL_SETS = 10
N_PAIRS = 50


@dataclass(frozen=True, eq=False)
class DataSummary:
    """Summary statistics of a data set.

    Attributes:
        name: Name of the data set.
        digest: Digest of the data set.
        n_samples: Number of rows.
        n_features: Number of features.
        n_labels: Number of labels.
        categories: Number of categories of each categorical feature.
        texts: Names of the columns of texts.
        missing: Number of missing values of each feature that has any.
        n_missing_rows: Number of rows with a missing value.
        constant: Features with fewer than two distinct values.
        label_names: Names of the labels.
        label_counts: Number of rows with each label, of shape (n_labels,).
        paired: Indices, ascending, of the labels of which pairs are counted: all, or of very many
            labels the most frequent.
        co_occurrence: Number of rows with both labels, of shape (n_paired, n_paired).
        cardinality: Mean number of labels per row; the sum of the labels' rates, each among the
            rows in which the label is known.
        density: Cardinality divided by the number of labels.
        n_unlabelled: Number of rows without a label, of those in which every label is known.
        n_label_sets: Number of distinct combinations of labels, in the same rows.
        label_sets: The most frequent combinations and their numbers of rows.
        n_duplicates: Number of rows with the features of a previous row; they leak between folds.
        n_conflicting: Number of duplicates whose labels differ from the first such row.
        n_groups: Number of groups, or None.
        largest_group: Number of rows of the largest group, or None.
        weights: Smallest and largest weight of a row, number of rows of weight 0, and effective
            sample size, (sum of weights)^2 / sum of squared weights; None without weights.
        label_rates: Rates of the labels over time, or None.
        coverage: Numbers of rows in which labels are known, or None if all are.
    """

    name: str
    digest: str
    n_samples: int
    n_features: int
    n_labels: int
    categories: dict[str, int]
    texts: tuple[str, ...]
    missing: dict[str, int]
    n_missing_rows: int
    constant: tuple[str, ...]
    label_names: tuple[str, ...]
    label_counts: NDArray[np.int64]
    paired: NDArray[np.int64]
    co_occurrence: NDArray[np.int64]
    cardinality: float
    density: float
    n_unlabelled: int
    n_label_sets: int
    label_sets: tuple[tuple[tuple[str, ...], int], ...]
    n_duplicates: int
    n_conflicting: int
    n_groups: int | None
    largest_group: int | None
    weights: dict[str, float] | None = None
    label_rates: LabelRates | None = None
    coverage: LabelCoverage | None = None

    @property
    def n_labelled(self) -> NDArray[np.int64]:
        """Number of rows in which each label is known."""
        if self.coverage is not None:
            return self.coverage.n_rows
        return np.full(self.n_labels, self.n_samples)

    @property
    def n_complete(self) -> int:
        """Number of rows in which every label is known."""
        return self.n_samples if self.coverage is None else self.coverage.n_complete

    @property
    def conditional_rates(self) -> NDArray[np.float64]:
        """Fraction of the rows with a label that have another, of shape (n_paired, n_paired).

        Of the rows in which the other label is known; 0 without any.
        """
        n_rows = (
            self.label_counts[self.paired, None]
            if self.coverage is None
            else self.coverage.pair_rows
        )
        return self.co_occurrence / np.maximum(n_rows, 1)

    def describe_unlabelled(self) -> str:
        """Return the number of rows without a label, in words."""
        if self.coverage is None:
            return f"{self.n_unlabelled:,} rows without a label"
        return f"{self.n_unlabelled:,} rows that are known to have no label"

    def describe_coverage(self) -> str:
        """Return how much of the labels is known, in words; empty if all are."""
        if self.coverage is None:
            return ""
        return (
            f"{self.coverage.fraction(self.n_samples):.1%} of the labels of all rows are known; "
            f"every label in {self.coverage.n_complete:,} rows, none in {self.coverage.n_empty:,}"
        )

    def pairs(self, n: int) -> list[tuple[str, str, int]]:
        """Return the n most frequent pairs of labels and their numbers of rows."""
        first, second = np.triu_indices(len(self.paired), k=1)
        counts, names = self.co_occurrence[first, second], self.label_names
        first, second = self.paired[first], self.paired[second]
        return [
            (names[first[pair]], names[second[pair]], int(counts[pair]))
            for pair in np.argsort(-counts, kind="stable")[:n]
            if counts[pair]
        ]

    def describe_duplicates(self) -> str:
        """Return a sentence about duplicate rows and their consequence."""
        return (
            f"{self.n_duplicates} rows have the features of a previous row, {self.n_conflicting} "
            "of them with other labels; such rows leak between folds. Leave them out: "
            "dataset.drop_duplicates=true, or keep equal ones in one fold: cv=group_kfold with "
            "dataset.group_column=..., a column that names them."
        )

    def profile(self) -> dict[str, Any]:
        """Return the numbers that MLflow lists with the data set."""
        return {
            "n_samples": self.n_samples,
            "n_features": self.n_features,
            "n_labels": self.n_labels,
            "label_counts": dict(zip(self.label_names, self.label_counts.tolist(), strict=True)),
            "cardinality": self.cardinality,
            **(
                {"known_in": dict(zip(self.label_names, self.n_labelled.tolist(), strict=True))}
                if self.coverage
                else {}
            ),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the statistics as JSON types; co-occurrence as the most frequent pairs."""

        def values(*names: str) -> dict[str, Any]:
            return {name: getattr(self, name) for name in names}

        return {
            **values("name", "digest", "n_samples", "n_features", "n_labels"),
            "features": {
                "n_numeric": self.n_features - len(self.categories) - len(self.texts),
                "n_categorical": len(self.categories),
                **({"texts": list(self.texts)} if self.texts else {}),
                **values("categories", "missing", "n_missing_rows", "constant"),
            },
            "labels": {
                "counts": self.profile()["label_counts"],
                **values("cardinality", "density", "n_unlabelled", "n_label_sets"),
                "label_sets": [
                    {"labels": list(labels), "rows": rows} for labels, rows in self.label_sets
                ],
                "pairs": [
                    {"labels": [first, second], "rows": rows}
                    for first, second, rows in self.pairs(N_PAIRS)
                ],
                **({"known": self.coverage.as_dict(self.label_names)} if self.coverage else {}),
            },
            **values("n_duplicates", "n_conflicting", "n_groups", "largest_group", "weights"),
            **(
                {"label_rates": self.label_rates.as_dict(self.label_names)}
                if self.label_rates
                else {}
            ),
        }


def summarise(dataset: Dataset) -> DataSummary:
    """Compute summary statistics of a data set."""
    mask = dataset.label_mask
    cardinality = float(dataset.y.sum(axis=1, dtype=np.int64).mean())
    if mask is not None:
        cardinality = float(dataset.label_rates.sum())
    sets, n_sets = _label_sets(dataset)
    n_duplicates, n_conflicting = _duplicates(dataset)
    n_missing, n_missing_rows = _count_missing(dataset.X)
    groups = () if dataset.groups is None else dataset.groups
    group_sizes = np.unique_counts(np.asarray(groups)).counts
    label_counts = dataset.y.sum(axis=0, dtype=np.int64)
    paired = most_frequent(label_counts)
    y_paired = dataset.y[:, paired]
    return DataSummary(
        name=dataset.name,
        digest=dataset.digest,
        n_samples=dataset.n_samples,
        n_features=dataset.n_features,
        n_labels=dataset.n_labels,
        categories={
            name: len(categories)
            for name, categories in zip(dataset.feature_names, dataset.categories, strict=False)
            if categories is not None
        },
        texts=dataset.schema.texts,
        missing={
            dataset.feature_names[feature]: int(n_missing[feature])
            for feature in np.flatnonzero(n_missing)
        },
        n_missing_rows=n_missing_rows,
        constant=_constant(dataset),
        label_names=dataset.label_names,
        label_counts=label_counts,
        paired=paired,
        co_occurrence=count_pairs(y_paired, y_paired),
        cardinality=cardinality,
        density=cardinality / dataset.n_labels,
        n_unlabelled=_n_unlabelled(dataset),
        n_label_sets=n_sets,
        label_sets=sets,
        n_duplicates=n_duplicates,
        n_conflicting=n_conflicting,
        n_groups=len(group_sizes) or None,
        largest_group=int(max(group_sizes)) if len(group_sizes) else None,
        weights=None if dataset.sample_weight is None else _weights(dataset.sample_weight),
        label_rates=label_rates(dataset),
        coverage=None if mask is None else LabelCoverage.of(dataset.y, mask),
    )


def _count_missing(X: NDArray[np.float32]) -> tuple[NDArray[np.int64], int]:
    """Return the number of missing values of each feature, and of rows with one."""
    by_feature, n_rows = np.zeros(X.shape[1], dtype=np.int64), 0
    for rows in row_blocks(*X.shape):
        missing = np.isnan(X[rows])
        by_feature += missing.sum(axis=0)
        n_rows += int(missing.any(axis=1).sum())
    return by_feature, n_rows


def _weights(sample_weight: NDArray[np.float32]) -> dict[str, float]:
    """Return statistics of weights; the effective sample size is Kish's (1965)."""
    weights = sample_weight.astype(np.float64)
    return {
        "min": float(weights.min()),
        "max": float(weights.max()),
        "n_zero": int((weights == 0).sum()),
        "effective_sample_size": float(weights.sum() ** 2 / (weights @ weights)),
    }


def _n_unlabelled(dataset: Dataset) -> int:
    unlabelled = ~dataset.y.any(axis=1)
    if dataset.label_mask is not None:
        unlabelled &= dataset.label_mask.all(axis=1)
    return int(unlabelled.sum())


def _label_sets(dataset: Dataset) -> tuple[tuple[tuple[tuple[str, ...], int], ...], int]:
    y = dataset.y if dataset.label_mask is None else dataset.y[dataset.label_mask.all(axis=1)]
    label_sets, counts = count_patterns(y)
    names = dataset.label_names
    most_frequent = zip(label_sets[:N_LABEL_SETS], counts[:N_LABEL_SETS], strict=True)
    return tuple(
        (tuple(names[label] for label in np.flatnonzero(row)), int(n)) for row, n in most_frequent
    ), len(counts)


def _duplicates(dataset: Dataset) -> tuple[int, int]:
    first = first_rows(dataset.X)
    later = np.flatnonzero(first != np.arange(len(first)))
    return len(later), int(labels_differ(dataset, first[later], later).sum())


def _constant(dataset: Dataset) -> tuple[str, ...]:
    low, high = np.fmin.reduce(dataset.X), np.fmax.reduce(dataset.X)
    return tuple(dataset.feature_names[feature] for feature in np.flatnonzero(~(low < high)))
