"""Records of the rows that are predicted at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MAX_ROWS, MIN_ROWS, MAX_CELLS = 16_384, 1024, 2**22  # of a batch


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of a file.

    Attributes:
        rows: Number of each row in the file, from 0, of shape (n_rows,).
        table: Their columns.
    """

    rows: NDArray[np.int64]
    table: pa.Table


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read or predicted.

    Attributes:
        row: Its number in the file, from 0.
        column: Name of the first bad column; None if the row cannot be divided into columns.
        reason: What is wrong, as a sentence.
        values: Its values by column, or its text.
    """

    row: int
    column: str | None
    reason: str
    values: Mapping[str, Any] | str


OnBad = Callable[[BadRow], None]  # what to do with a bad row; it may raise


class RowFile(Protocol):
    """A file of raw rows."""

    source: str
    """Its path, for messages."""
    names: Sequence[str]
    """Names of the columns."""
    n_rows: int | None
    """Number of rows, if the file says so."""

    def batches(self, columns: Sequence[str], on_bad: OnBad) -> Iterator[Batch]:
        """Yield an empty batch, then all rows with these columns."""

    def fraction_read(self) -> float | None:
        """Return how much of the file is read, from 0 to 1, if that is known."""


def rows_per_batch(n_columns: int) -> int:
    """Return the number of rows to predict at once."""
    return min(MAX_ROWS, max(MIN_ROWS, MAX_CELLS // max(1, n_columns)))
