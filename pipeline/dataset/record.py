"""The record that every source returns, and what must hold for it."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError

MAX_SHOWN = 5


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
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained on, and take the digest."""
        if not (len(self.X) and self.feature_names and self.label_names):
            raise UserError(
                f"{self.name}: expected at least one row, one feature and one label. Received: "
                f"{len(self.X)} rows, {len(self.feature_names)} features, "
                f"{len(self.label_names)} labels."
            )
        self._refuse(np.isinf(self.X), "finite features", "Mend them or leave the rows out.")
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

    def refuse_missing(self) -> None:
        """Raise UserError if a value is missing; for where nothing fills it in."""
        self._refuse(np.isnan(self.X), "no missing value", "Fill it in or leave the row out.")

    def _refuse(self, bad: NDArray[np.bool_], expected: str, counsel: str) -> None:
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise UserError(
                f"{self.name}: expected {expected}. Received: {self.X[row, column]} in row {row}, "
                f"feature {self.feature_names[column]!r} ({bad.sum()} such values in "
                f"{bad.any(axis=1).sum()} rows). {counsel}"
            )

    def _digest(self) -> str:
        sha = hashlib.sha256()
        for array in (self.X, self.y, self.groups):
            if array is not None:
                sha.update(f"{array.dtype}{array.shape}".encode())
                sha.update(np.ascontiguousarray(array).data)
        names = (self.feature_names, self.label_names, self.categories)
        sha.update(repr(names).encode())
        return sha.hexdigest()[:32]
