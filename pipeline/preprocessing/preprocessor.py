"""Imputation, scaling and one-hot encoding of encoded rows.

The model's input has the imputed and scaled numbers first, then indicator columns of missing
numbers, then one column for each category of the training rows. A missing or unknown category is
all zeros. A feature whose only categories are 0 and 1, as in sparse files, has a column for 1 only.

Logged models carry this file, so it imports nothing of Manyfold.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

NO_COLUMN = -1


class Layout(NamedTuple):
    """Sizes of a preprocessor; fits with equal ones can share a compiled program.

    Attributes:
        numeric: Column indices of the numeric features.
        categorical: Column indices of the categorical features.
        n_categories: Number of categories of each categorical feature.
        n_indicators: Number of columns that indicate missing numbers.
        n_category_columns: Number of one-hot columns.
        n_terms: Number of terms of each column of texts.
        n_components: Number of components that replace the terms of each; 0 without.
        is_ordinal: Whether each categorical feature is one column of codes, behind all others.
    """

    numeric: tuple[int, ...]
    categorical: tuple[int, ...]
    n_categories: tuple[int, ...]
    n_indicators: int
    n_category_columns: int
    n_terms: tuple[int, ...] = ()
    n_components: tuple[int, ...] = ()
    is_ordinal: bool = False

    @property
    def n_columns(self) -> int:
        """Width of the model's input."""
        of_texts = sum(
            components or terms
            for terms, components in zip(self.n_terms, self.n_components, strict=True)
        )
        return len(self.numeric) + self.n_indicators + self.n_category_columns + of_texts


class Preprocessor(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A map from a row of `TableSchema.encode` to the model's input, learnt by `fit_preprocessors`.

    Attributes:
        numeric: Column indices of the numeric features, of shape (n_numeric,).
        fill: Imputed value of a missing number, less its offset, of shape (n_numeric,).
        center: Value subtracted from each number, of shape (n_numeric,).
        scale: Divisor of the difference, of shape (n_numeric,).
        indicators: Indices into `numeric` of the features with an indicator of missing numbers;
            `NO_COLUMN` for a spare column.
        categorical: Column indices of the categorical features, of shape (n_categorical,).
        columns: For each categorical feature, the column of each category among the columns of all
            categories; `NO_COLUMN` for a category that no training row has. Rare categories of a
            feature share a column.
        terms: For each column of texts, the column of the matrix that counts each term;
            that of any for a spare one.
        idf: Inverse document frequency of each term; 0 for a spare one.
        components: Components of the terms, of shape (n_terms, n_components), with which TF-IDF is
            multiplied; without a column if it is not.
        encoding: Of categories: `onehot`; or `ordinal` for one column of codes of each feature,
            and -1 where missing or unknown; or `target` for such codes that an estimator encodes.
    """

    terms: Sequence[NDArray[np.int64]] = ()  # for models of versions without texts
    idf: Sequence[NDArray[np.float32]] = ()
    components: Sequence[NDArray[np.float32]] = ()
    encoding: str = "onehot"

    def __init__(
        self,
        numeric: NDArray[np.int64],
        fill: NDArray[np.float32],
        center: NDArray[np.float32],
        scale: NDArray[np.float32],
        indicators: NDArray[np.int64],
        categorical: NDArray[np.int64],
        columns: Sequence[NDArray[np.int64]],
        terms: Sequence[NDArray[np.int64]] = (),
        idf: Sequence[NDArray[np.float32]] = (),
        components: Sequence[NDArray[np.float32]] = (),
        encoding: str = "onehot",
    ) -> None:
        """Set the arrays; `fit_preprocessors` learns them."""
        self.numeric = numeric
        self.fill = fill
        self.center = center
        self.scale = scale
        self.indicators = indicators
        self.categorical = categorical
        self.columns = columns
        self.terms = terms
        self.idf = idf
        self.components = components
        self.encoding = encoding

    @property
    def layout(self) -> Layout:
        """Sizes of this preprocessor.

        The number of category columns is rounded up by at most 1/8 with columns of zeros, so that
        folds whose rare categories differ still share a compiled program.
        """
        is_ordinal = self.encoding != "onehot"
        n = 1 + max((int(c.max(initial=NO_COLUMN)) for c in self.columns), default=NO_COLUMN)
        return Layout(
            tuple(self.numeric.tolist()),
            tuple(self.categorical.tolist()),
            tuple(len(columns) for columns in self.columns),
            len(self.indicators),
            len(self.categorical) if is_ordinal else round_up(n),
            tuple(map(len, self.terms)),
            tuple(components.shape[1] for components in self.components),
            is_ordinal,
        )

    @property
    def n_columns(self) -> int:
        """Width of the model's input."""
        return self.layout.n_columns

    @property
    def n_target_encoded(self) -> int:
        """Number of last columns that an estimator has to encode by its target."""
        return len(self.categorical) if self.encoding == "target" else 0

    @property
    def column_features(self) -> NDArray[np.int64]:
        """Index into `categorical` of each one-hot column's feature; 0 for a spare column."""
        features = np.zeros(self.layout.n_category_columns, dtype=np.int64)
        if self.layout.is_ordinal:
            return features
        for feature, columns in enumerate(self.columns):
            features[columns[columns != NO_COLUMN]] = feature
        return features

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Do nothing, as `fit_preprocessors` has learnt the arrays; for scikit-learn's pipeline."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Return True, as there is no preprocessor without its arrays."""
        return True

    def transform(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the model's input, of shape (n_samples, n_columns).

        Args:
            X: Encoded rows of shape (n_samples, n_features).
        """
        layout = self.layout
        numbers = X[:, self.numeric]
        missing = np.isnan(numbers)
        model_input = np.zeros((len(X), layout.n_columns), dtype=np.float32)
        n_numeric = len(self.numeric)
        filled = np.where(missing, self.fill, numbers)
        model_input[:, :n_numeric] = (filled - self.center) / self.scale
        used = np.flatnonzero(self.indicators != NO_COLUMN)
        model_input[:, n_numeric + used] = missing[:, self.indicators[used]]
        first = n_numeric + len(self.indicators)
        last = layout.n_columns - len(self.categorical) - 1  # before the codes, if there are any
        for feature, columns in zip(self.categorical, self.columns, strict=True):
            rows = np.flatnonzero(~np.isnan(X[:, feature]))
            column = columns[X[rows, feature].astype(np.int64)]
            has_column = column != NO_COLUMN
            if layout.is_ordinal:
                last += 1
                model_input[:, last] = NO_COLUMN
                model_input[rows, last] = column
            else:
                model_input[rows[has_column], first + column[has_column]] = 1
        first += 0 if layout.is_ordinal else layout.n_category_columns
        for terms, idf, components in zip(self.terms, self.idf, self.components, strict=True):
            weighted = weigh_terms(X[:, terms], idf)
            weighted = weighted @ components if components.shape[1] else weighted
            model_input[:, first : first + weighted.shape[1]] = weighted
            first += weighted.shape[1]
        return model_input


def weigh_terms(counts: NDArray[np.float32], idf: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return TF-IDF: counts by their inverse document frequency, rows of length 1 or 0."""
    weighted = counts * idf
    length = np.sqrt((weighted * weighted).sum(axis=1, keepdims=True))
    tfidf: NDArray[Any] = weighted / np.where(length > 0, length, np.float32(1))
    return tfidf


def round_up(n: int) -> int:
    """Round a number of columns up by at most 1/8."""
    step = 1 << max(n.bit_length() - 4, 0)
    return -(-n // step) * step
