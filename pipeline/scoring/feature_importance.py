"""Permutation importance of all features over the folds of a run, and its table."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

IMPORTANCE_FILE = "importance.parquet"
OVERALL = "overall"
N_COLUMNS = 6  # of the table, before those of the folds


@dataclass(frozen=True, eq=False)
class FeatureImportance:
    """Decrease of scores on held-out rows when a feature is permuted among them.

    Attributes:
        features: Names of the features, or of the columns that are permuted together, by
            descending mean of the headline metric.
        targets: "overall", then the names of the labels.
        metrics: Metric of each target; the headline metric comes first.
        folds: Names of the folds, such as 0-2 for repeat 0, fold 2.
        values: Decrease in each fold, of shape (n_folds, n_features, n_targets); NaN where the
            metric is undefined. A loss that rises counts as a decrease.
    """

    features: tuple[str, ...]
    targets: tuple[str, ...]
    metrics: tuple[str, ...]
    folds: tuple[str, ...]
    values: NDArray[np.float64]

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean over the folds with a defined value, of shape (n_features, n_targets)."""
        return np.asarray(np.ma.masked_invalid(self.values).mean(axis=0).filled(np.nan))

    @cached_property
    def std(self) -> NDArray[np.float64]:
        """Population standard deviation over folds, of the same shape."""
        return np.asarray(np.ma.masked_invalid(self.values).std(axis=0).filled(np.nan))

    @property
    def n_folds(self) -> NDArray[np.int64]:
        """Number of folds with a defined value, of the same shape."""
        return np.asarray(np.isfinite(self.values).sum(axis=0))

    def most_dependent(self, feature: int, n: int) -> list[int]:
        """Return the targets of the n labels with the largest decrease that exceeds its deviation.

        Args:
            feature: Index of the feature.
            n: Largest number of labels.
        """
        mean, std = self.mean[feature, 1:], self.std[feature, 1:]
        order = np.argsort(-mean, kind="stable")[:n]
        return [int(label) + 1 for label in order if mean[label] > std[label]]

    @classmethod
    def of(
        cls,
        features: list[str],
        label_names: tuple[str, ...],
        metrics: tuple[str, str],
        folds: list[str],
        values: NDArray[np.float64],
    ) -> Self:
        """Order the features, the most important first.

        Args:
            features: Name of each feature or group.
            label_names: Names of the labels.
            metrics: The headline metric, and that of each label.
            folds: Names of the folds.
            values: As in the attribute, in the order of `features`.
        """
        labels = [f"label {name}" if name == OVERALL else name for name in label_names]
        unordered = cls(
            tuple(features),
            (OVERALL, *labels),
            (metrics[0], *(metrics[1] for _ in labels)),
            tuple(folds),
            values,
        )
        order = np.argsort(-unordered.mean[:, 0], kind="stable")
        names = tuple(features[index] for index in order)
        return replace(unordered, features=names, values=values[:, order])

    def to_table(self) -> pd.DataFrame:
        """Return one row per feature and target: metric, mean, deviation, and each fold."""
        n_features, n_targets = len(self.features), len(self.targets)
        return pd.DataFrame(
            {
                "feature": np.repeat(np.array(self.features, dtype=object), n_targets),
                "label": np.tile(np.array(self.targets, dtype=object), n_features),
                "metric": np.tile(np.array(self.metrics, dtype=object), n_features),
                "mean": self.mean.ravel(),
                "std": self.std.ravel(),
                "n_folds": self.n_folds.ravel(),
                **{
                    fold: values.ravel()
                    for fold, values in zip(self.folds, self.values, strict=True)
                },
            }
        )

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> Self:
        """Read the table back."""
        n_targets = int(table["label"].nunique())
        folds = tuple(table.columns[N_COLUMNS:])
        values = table[list(folds)].to_numpy(float).T.reshape(len(folds), -1, n_targets)
        return cls(
            tuple(table["feature"][::n_targets]),
            tuple(table["label"][:n_targets]),
            tuple(table["metric"][:n_targets]),
            folds,
            values,
        )
