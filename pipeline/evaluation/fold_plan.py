"""The fits of one fold."""

from dataclasses import dataclass

from pipeline.cv import Split


@dataclass(frozen=True, eq=False)
class FoldPlan:
    """The fits of one fold, or of the final model, as indices into the list of all fits.

    Attributes:
        split: Training and test rows; the final model has no test rows.
        outer: Fits on all training rows, one for each model of the ensemble.
        inner: Fits of each inner fold, which score a part of the training rows.
    """

    split: Split
    outer: range
    inner: tuple[range, ...]

    @property
    def fit_indices(self) -> list[int]:
        """Indices of all its fits, ascending."""
        return [index for part in (self.outer, *self.inner) for index in part]
