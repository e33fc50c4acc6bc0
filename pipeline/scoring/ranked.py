"""Rows of scores in descending order, and what is true among the highest of them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.scoring.arrays import Labels, Scores

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ranked:
    """Each row's entries, highest score first; entries of equal score share their places.

    A row may be a sample (its labels compete), a label (the samples compete) or the whole table.

    Attributes:
        relevant: 1 where true, 0 elsewhere.
        above: How many entries of the row have a higher score.
        through: How many have that score or a higher one.
        relevant_above: How many of `above` are true.
        relevant_through: How many of `through` are true.
        n_relevant: How many of the row's entries are true; one number for each row.
    """

    relevant: Places
    above: Places
    through: Places
    relevant_above: Places
    relevant_through: Places
    n_relevant: Places

    @classmethod
    def of(cls, y_true: Labels, y_score: Scores) -> Self:
        """Return the rows, each in its own order."""
        order = np.argsort(-y_score, axis=1)
        scores = np.take_along_axis(y_score, order, axis=1)
        relevant = np.take_along_axis(y_true, order, axis=1).astype(np.int64)
        n_rows, n = scores.shape
        differs = scores[:, 1:] != scores[:, :-1]
        edge = np.ones((n_rows, 1), dtype=bool)
        starts = np.where(np.hstack([edge, differs]), np.arange(n), 0)
        ends = np.where(np.hstack([differs, edge]), np.arange(1, n + 1), n)
        above = np.maximum.accumulate(starts, axis=1)
        through = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        found = np.zeros((n_rows, n + 1), dtype=np.int64)
        np.cumsum(relevant, axis=1, out=found[:, 1:])
        return cls(
            relevant,
            above,
            through,
            np.take_along_axis(found, above, axis=1),
            np.take_along_axis(found, through, axis=1),
            found[:, -1],
        )
