"""Statistics of the numeric features and counts of the categories in some rows."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing.input_columns import find_input_columns
from pipeline.preprocessing.table_schema import TableSchema

MAX_FLOAT64_CELLS = 2**22  # that are held at once
MAX_CELLS = 2**25  # of rows; the statistics of more are merged from those of parts


@dataclass(frozen=True, eq=False)
class ColumnStatistics:
    """Statistics of the numeric features in some rows; each array of shape (n_numeric,).

    Attributes:
        n: Number of values that are not missing.
        mean: Their mean; 0 without any.
        m2: Sum of their squared differences from the mean.
        low: The smallest; infinite without any.
        high: The largest; minus infinite without any.
        n_missing: Number of missing values.
        category_counts: Number of rows of each category, for each categorical feature.
    """

    n: NDArray[np.int64]
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n_missing: NDArray[np.int64]
    category_counts: tuple[NDArray[np.int64], ...]

    @classmethod
    def of_rows(
        cls, X: NDArray[np.floating], schema: TableSchema, rows: NDArray[np.integer]
    ) -> "ColumnStatistics":
        """Return the statistics of some rows."""
        step = max(1, MAX_CELLS // X.shape[1])
        starts = range(0, max(1, len(rows)), step)
        parts = (cls._of_part(X, schema, rows[start : start + step]) for start in starts)
        return reduce(cls.merge, parts)

    @classmethod
    def _of_part(
        cls, X: NDArray[np.floating], schema: TableSchema, rows: NDArray[np.integer]
    ) -> "ColumnStatistics":
        columns = find_input_columns(schema)
        numeric, categorical = columns.numeric, columns.categorical
        numbers = X[np.ix_(rows, numeric)] if len(numeric) < X.shape[1] else X[rows]
        missing = np.isnan(numbers)
        n_missing = missing.sum(axis=0)
        n = len(rows) - n_missing
        present = np.where(missing, 0, numbers) if n_missing.any() else numbers
        mean = present.sum(axis=0, dtype=np.float64) / np.maximum(n, 1)
        m2 = np.empty(len(numeric))
        step = max(1, MAX_FLOAT64_CELLS // len(rows))
        for first in range(0, len(numeric), step):  # float64 takes twice the memory
            part = slice(first, first + step)
            difference = numbers[:, part].astype(np.float64) - mean[part]
            difference[missing[:, part]] = 0
            m2[part] = np.einsum("ij,ij->j", difference, difference)
        low = np.fmin.reduce(numbers, axis=0).astype(np.float64)
        high = np.fmax.reduce(numbers, axis=0).astype(np.float64)
        low[n == 0], high[n == 0] = np.inf, -np.inf
        counts = []
        for feature in categorical:
            codes = X[rows, feature]
            n_categories = len(schema.columns[feature].categories)
            codes = codes[~np.isnan(codes)].astype(np.int64)
            counts.append(np.bincount(codes, minlength=n_categories))
        return cls(n, mean, m2, low, high, n_missing, tuple(counts))

    def merge(self, other: "ColumnStatistics") -> "ColumnStatistics":
        """Return the statistics of both sets of rows.

        References:
            Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing
            sample variances, 1982.
        """
        n = self.n + other.n
        difference = other.mean - self.mean
        fraction = other.n / np.maximum(n, 1)
        return ColumnStatistics(
            n,
            np.where(self.n == 0, other.mean, self.mean + difference * fraction),
            self.m2 + other.m2 + difference**2 * self.n * fraction,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.n_missing + other.n_missing,
            tuple(
                own + others
                for own, others in zip(self.category_counts, other.category_counts, strict=True)
            ),
        )

    def impute(self, fill: NDArray[np.float64]) -> "ColumnStatistics":
        """Return the statistics after imputation of the missing values."""
        missing = self.n_missing > 0
        constant = ColumnStatistics(
            self.n_missing,
            fill,
            np.zeros_like(fill),
            np.where(missing, fill, np.inf),
            np.where(missing, fill, -np.inf),
            np.zeros_like(self.n_missing),
            tuple(np.zeros_like(counts) for counts in self.category_counts),
        )
        return self.merge(constant)
