"""Coverage of the labels: in how many rows each is known, and which are missing together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_PATTERNS = 10
MAX_PAIRED = 1000  # labels of which pairs are counted, the most frequent ones
CHUNK = 100_000  # rows


@dataclass(frozen=True, eq=False)
class LabelCoverage:
    """Numbers of rows in which labels are known.

    Attributes:
        n_rows: Rows in which each label is known, of shape (n_labels,).
        pair_rows: Rows with the label of the first axis in which that of the second is known, of
            shape (n_paired, n_paired), of the labels of `most_frequent`.
        n_complete: Rows in which every label is known.
        n_empty: Rows in which none is.
        n_patterns: Number of distinct patterns of missing labels.
        patterns: The most frequent patterns, as indices of the missing labels, and their rows.
    """

    n_rows: NDArray[np.int64]
    pair_rows: NDArray[np.int64]
    n_complete: int
    n_empty: int
    n_patterns: int
    patterns: tuple[tuple[NDArray[np.int64], int], ...]

    @classmethod
    def of(cls, y: NDArray[np.int8], mask: NDArray[np.bool_]) -> "LabelCoverage":
        """Count the rows of a table.

        Args:
            y: Indicator matrix of shape (n_samples, n_labels), 0 where a label is not known.
            mask: True where it is known, of the same shape.
        """
        missing, counts = count_patterns(~mask)
        paired = most_frequent(y.sum(axis=0, dtype=np.int64))
        return cls(
            n_rows=mask.sum(axis=0, dtype=np.int64),
            pair_rows=count_pairs(y[:, paired], mask[:, paired]),
            n_complete=int(mask.all(axis=1).sum()),
            n_empty=int((~mask.any(axis=1)).sum()),
            n_patterns=len(counts),
            patterns=tuple(
                (np.flatnonzero(row), int(count))
                for row, count in zip(missing[:N_PATTERNS], counts[:N_PATTERNS], strict=True)
            ),
        )

    def fraction(self, n_samples: int) -> float:
        """Return the fraction of all labels of all rows that is known."""
        return float(self.n_rows.sum()) / (n_samples * len(self.n_rows))

    def describe_pattern(self, labels: NDArray[np.int64], label_names: Sequence[str]) -> str:
        """Return the names of the missing labels or, if these are most, of the others."""
        if len(labels) == len(label_names):
            return "all"
        if len(labels) <= len(label_names) / 2:
            return ", ".join(label_names[label] for label in labels.tolist()) or "none"
        others = np.delete(np.arange(len(label_names)), labels).tolist()
        return f"all but {', '.join(label_names[label] for label in others)}"

    def as_dict(self, label_names: tuple[str, ...]) -> dict[str, Any]:
        """Return the counts as JSON types."""
        return {
            "rows": dict(zip(label_names, self.n_rows.tolist(), strict=True)),
            "n_complete": self.n_complete,
            "n_empty": self.n_empty,
            "n_patterns": self.n_patterns,
            "patterns": [
                {"missing": [label_names[label] for label in labels], "rows": rows}
                for labels, rows in self.patterns
            ],
        }


def count_patterns(table: NDArray[np.int8 | np.bool_]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the distinct rows of a table of 0 and 1 and their counts, the most frequent first."""
    packed = np.packbits(table, axis=1)
    _, first, counts = np.unique(packed, axis=0, return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return table[first[order]], counts[order]


def most_frequent(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices, ascending, of the at most `MAX_PAIRED` labels with the most rows."""
    return np.sort(np.argsort(-counts, kind="stable")[:MAX_PAIRED])


def count_pairs(
    first: NDArray[np.int8 | np.bool_], second: NDArray[np.int8 | np.bool_]
) -> NDArray[np.int64]:
    """Count the rows that have 1 in each column of one table and each column of another.

    Args:
        first: Table of 0 and 1, of shape (n_rows, n_first).
        second: The other, of shape (n_rows, n_second).

    Returns:
        Counts of shape (n_first, n_second).
    """
    counts = np.zeros((first.shape[1], second.shape[1]), dtype=np.int64)
    for start in range(0, len(first), CHUNK):  # exact below 2**24 rows, and BLAS is fast
        rows = slice(start, start + CHUNK)
        block = second[rows].astype(np.float32)
        left = block if second is first else first[rows].astype(np.float32)
        counts += (left.T @ block).astype(np.int64)
    return counts
