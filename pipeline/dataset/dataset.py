"""The `Dataset` record and its checks."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError

TRAIN, TEST = -1, 0
MAX_SHOWN = 5
LARGEST = 1e30  # size of a feature


@dataclass(frozen=True, eq=False)
class Dataset:
    """A multi-label table.

    Attributes:
        name: Short name, for titles and run names.
        X: Features of shape (n_samples, n_features), float32 or float64; a category is its place in
            `categories`, a missing value NaN; never infinite.
        y: Indicator matrix of shape (n_samples, n_labels), int8, values {0, 1}.
        feature_names: Unique names, in the order of the columns of `X`.
        label_names: Unique names, in the order of the columns of `y`.
        categories: For each feature its categories as text, or None where it is numeric; empty if
            all are numeric.
        groups: Group of each row, of shape (n_samples,), or None.
        fold: Fold in which each row is tested, of shape (n_samples,), or None; -1 trains always.
        ids: Unique text that names each row, of shape (n_samples,), or None.
        source: Where it came from, a path as a rule; names it in messages.
        warnings: What may surprise but can be worked with, such as a constant label.
        digest: SHA-256 over all values and names; 32 hexadecimal characters of it.
    """

    name: str
    X: NDArray[np.floating]
    y: NDArray[np.int8]
    feature_names: tuple[str, ...]
    label_names: tuple[str, ...]
    categories: tuple[tuple[str, ...] | None, ...] = ()
    groups: NDArray[np.int64] | None = None
    fold: NDArray[np.int64] | None = None
    ids: NDArray[np.str_] | None = None
    source: str = ""
    warnings: tuple[str, ...] = ()
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained on, warn of constant labels, and take the digest."""
        self._check_not_empty()
        self._check_unique_names()
        if np.isinf([np.fmax.reduce(self.X, axis=None), np.fmin.reduce(self.X, axis=None)]).any():
            self._raise_for(np.isinf(self.X), "finite features", "Mend them or leave the rows out.")
        self._check_not_all_missing()
        known = [text for text in self._constant_labels() if text not in self.warnings]
        object.__setattr__(self, "warnings", (*self.warnings, *known))
        object.__setattr__(self, "digest", self._digest())

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return len(self.X)

    @property
    def n_features(self) -> int:
        """Number of columns of `X`."""
        return int(self.X.shape[1])

    @property
    def n_labels(self) -> int:
        """Number of columns of `y`."""
        return int(self.y.shape[1])

    def value(self, row: int, feature: int) -> str:
        """Return one value in words: a number, a category, or ? where it is missing."""
        value = self.X[row, feature]
        categories = self.categories[feature] if self.categories else None
        if np.isnan(value):
            return "?"
        return categories[int(value)] if categories else f"{value:.4g}"

    @property
    def _where(self) -> str:
        return self.source or self.name

    def check_complete(self) -> None:
        """Raise UserError if a number is missing; for where nothing fills it in."""
        numeric = [not known for known in self.categories] or [True] * self.n_features
        missing = np.isnan(self.X) & numeric if np.isnan(self.X.max()) else np.zeros((1, 1), bool)
        if missing.any():
            hint = "Fill it in, leave the row out, or choose preparation.impute=median."
            self._raise_for(missing, "no missing value", hint)

    def check_model(self, rows: Sequence[Sequence[float | str | None]]) -> None:
        """Raise UserError if new rows do not fit the features, before anything is trained.

        Args:
            rows: For each row its numbers, its categories (known or not), None where missing.
        """
        categories = self.categories or (None,) * self.n_features
        for row in rows:
            if len(row) != self.n_features:
                raise UserError(
                    f"dataset.new_rows: expected rows of {self.n_features} features. "
                    f"Received: a row of {len(row)}. dataset.new_rows=[] predicts none."
                )
            for name, known, value in zip(self.feature_names, categories, row, strict=True):
                if isinstance(value, str) and known is None:
                    raise UserError(
                        f"dataset.new_rows: expected a number or null for feature {name!r}. "
                        f"Received: {value!r}."
                    )

    def _raise_for(self, bad: NDArray[np.bool_], expected: str, hint: str) -> None:
        row, column = np.argwhere(bad)[0]
        raise UserError(
            f"{self._where}: expected {expected}. Received: {self.X[row, column]} in row {row}, "
            f"feature {self.feature_names[column]!r} ({bad.sum()} such values in "
            f"{bad.any(axis=1).sum()} rows; the first row is 0). {hint}"
        )

    def _check_not_empty(self) -> None:
        if not (len(self.X) and self.feature_names and self.label_names):
            raise UserError(
                f"{self._where}: expected at least one row, one feature and one label. Received: "
                f"{len(self.X)} rows, {len(self.feature_names)} features, "
                f"{len(self.label_names)} labels."
            )

    def _check_unique_names(self) -> None:
        counts = Counter((*self.feature_names, *self.label_names))
        doubles = [repr(name) for name, n in counts.items() if n > 1]
        if doubles:
            raise UserError(
                f"{self._where}: expected names that occur once among the features and labels. "
                f"Received: {', '.join(doubles[:MAX_SHOWN])} more than once."
            )

    def _check_not_all_missing(self) -> None:
        for column in np.flatnonzero(np.isnan(self.X[0])):
            if np.isnan(self.X[:, column]).all():
                raise UserError(
                    f"{self._where}: expected a value in each feature. Received: none in any of "
                    f"{len(self.X)} rows of feature {self.feature_names[column]!r}. Leave the "
                    "column out."
                )

    def check_range(self) -> None:
        """Raise UserError for numbers beyond float32, in which networks are trained."""
        if self.X.dtype == np.float32:
            return
        largest = np.fmax(np.fmax.reduce(self.X, axis=0), -np.fmin.reduce(self.X, axis=0))
        for name, size in zip(self.feature_names, largest, strict=True):
            if size > LARGEST or 0 < size < 1 / LARGEST:
                raise UserError(
                    f"{self._where}: expected features between {1 / LARGEST:g} and {LARGEST:g} in "
                    f"size. Received: at most {size:g} in feature {name!r}. Multiply it by a "
                    "constant, or take its logarithm."
                )

    def _constant_labels(self) -> list[str]:
        counts = self.y.sum(axis=0)
        return [
            f"label {name!r} is {'0' if count == 0 else '1'} in every row: metrics that compare "
            "its rows with and without it are undefined"
            for name, count in zip(self.label_names, counts, strict=True)
            if count in (0, len(self.y))
        ]

    def _digest(self) -> str:
        sha = hashlib.sha256()
        for array in (self.X, self.y, self.groups, self.fold):
            if array is not None:
                sha.update(f"{array.dtype}{array.shape}".encode())
                sha.update(np.ascontiguousarray(array).data)
        names = (self.feature_names, self.label_names, self.categories)
        sha.update(repr(names).encode())
        if self.ids is not None:
            sha.update(repr(self.ids.tolist()).encode())
        return sha.hexdigest()[:32]
