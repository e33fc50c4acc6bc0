"""Learn the weights of terms from the training rows of a fold."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import TextConfig
from pipeline.matrix_blocks import row_blocks
from pipeline.preprocessing.preprocessor import round_up, weigh_terms


@dataclass(frozen=True, eq=False)
class TextWeights:
    """Terms, weights and components of a column of texts, learnt from a fold's training rows.

    Attributes:
        terms: Index of each term among the counts; 0 for a spare one.
        idf: Inverse document frequency of each term; 0 for a spare one.
        components: Of the truncated SVD, of shape (n_terms, n_components); no column without it.
    """

    terms: NDArray[np.int64]
    idf: NDArray[np.float32]
    components: NDArray[np.float32]


def select_terms(
    config: TextConfig, n_rows_with: NDArray[np.int64], total: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the most frequent terms, in the order of the alphabet, as do ties.

    Args:
        config: The number of terms, and the fewest rows of one.
        n_rows_with: Number of training rows with each term.
        total: Sum of the counts of each term.
    """
    terms = np.flatnonzero(n_rows_with >= config.min_df)
    if len(terms) > config.max_features:
        most_frequent = np.argsort(-total[terms], kind="stable")[: config.max_features]
        terms = np.sort(terms[most_frequent])
    return terms


def fit_text(
    config: TextConfig,
    X: NDArray[np.floating],
    train: NDArray[np.integer[Any]],
    columns: NDArray[np.int64],
) -> TextWeights:
    """Learn terms, inverse document frequencies and components from counts in training rows.

    The weights are those of scikit-learn's `TfidfVectorizer`, and of `TruncatedSVD` behind it.

    Args:
        config: Choice of the terms, and number of components.
        X: Matrix with the counts, of shape (n_samples, n_features).
        train: Row numbers of the training rows.
        columns: Columns of the counts.
    """
    n_rows_with, total = np.zeros(len(columns), dtype=np.int64), np.zeros(len(columns))
    for rows in row_blocks(len(train), len(columns)):
        counts = X[np.ix_(train[rows], columns)]
        n_rows_with += (counts > 0).sum(axis=0)
        total += counts.sum(axis=0, dtype=np.float64)
    terms = select_terms(config, n_rows_with, total)
    idf = np.log((1 + len(train)) / (1 + n_rows_with[terms])) + 1
    n_spare = round_up(len(terms)) - len(terms)
    components = np.zeros((len(terms) + n_spare, config.n_components or 0), dtype=np.float32)
    n_components = min(config.n_components or 0, len(train), len(terms))
    if n_components:
        from sklearn.decomposition import TruncatedSVD

        counts = X[np.ix_(train, columns[terms])]
        weighted = weigh_terms(np.asfortranarray(counts), idf.astype(np.float32))
        svd = TruncatedSVD(n_components, random_state=0).fit(weighted)
        components[: len(terms), :n_components] = svd.components_.T
    return TextWeights(
        np.append(terms, np.zeros(n_spare, dtype=np.int64)),
        np.append(idf, np.zeros(n_spare)).astype(np.float32),
        components,
    )
