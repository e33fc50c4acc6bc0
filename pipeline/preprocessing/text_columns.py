"""Counts of the words or characters of a column of texts, as columns of the matrix.

Logged models carry this file, so it imports nothing of Manyfold.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TextCounts:
    """Counts of terms: words, characters or sequences of them.

    Terms that are not in the vocabulary are not counted.

    Attributes:
        source: Name of the column.
        analyzer: `word`, `char` or `char_wb`, as of scikit-learn's `CountVectorizer`.
        ngram_range: Shortest and longest sequence.
        vocabulary: Terms, one for each column; empty if they are hashed.
        n_buckets: Number of columns of hashed terms.
    """

    source: str
    analyzer: str
    ngram_range: tuple[int, int]
    vocabulary: tuple[str, ...] = ()
    n_buckets: int = 0

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return self.n_buckets or len(self.vocabulary)

    def transform(self, texts: NDArray[np.object_]) -> NDArray[np.float32]:
        """Return the counts, of shape (n_rows, n_columns)."""
        counts: NDArray[np.float32] = self.count(texts).toarray()
        return counts

    def count(self, texts: NDArray[np.object_]) -> Any:
        """Return the counts as a sparse matrix of shape (n_rows, n_columns)."""
        return self._vectorizer.transform(texts)

    @cached_property
    def _vectorizer(self) -> Any:
        return make_vectorizer(
            self.analyzer, self.ngram_range, self.vocabulary or None, self.n_buckets
        )


def make_vectorizer(
    analyzer: str,
    ngram_range: tuple[int, int],
    vocabulary: tuple[str, ...] | None = None,
    n_buckets: int = 0,
) -> Any:
    """Return scikit-learn's vectorizer of counts; `None` to learn the vocabulary."""
    from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer

    options = {"analyzer": analyzer, "ngram_range": ngram_range, "dtype": np.float32}
    if n_buckets:
        return HashingVectorizer(n_features=n_buckets, norm=None, alternate_sign=False, **options)
    return CountVectorizer(vocabulary=vocabulary, **options)
