"""One metric over all folds: mean, deviation, and an interval that does not pretend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """One metric over the folds in which it is defined.

    Attributes:
        mean: Mean over folds; NaN if it is defined in none.
        std: Population standard deviation over folds; NaN like the mean.
        ci: Ends of the 95% interval of the corrected resampled t statistic; None for fewer than
            two folds.
        n_folds: Folds in which the metric is defined.
        n_undefined: Folds in which it is not.
        n_left_out: Labels that the means within folds do without, summed over folds.
    """

    mean: float
    std: float
    ci: tuple[float, float] | None
    n_folds: int
    n_undefined: int = 0
    n_left_out: int = 0

    def undefined_in_words(self) -> str:
        """Return where the metric is undefined; empty if nowhere."""
        places = []
        if self.n_undefined:
            places.append(f"in {self.n_undefined} of {self.n_folds + self.n_undefined} folds")
        if self.n_left_out:
            labels = "label" if self.n_left_out == 1 else "labels"
            places.append(f"for {self.n_left_out} {labels} within folds")
        return f"undefined {' and '.join(places)}" if places else ""


def summarise(values: Sequence[float], test_share: float, n_left_out: int = 0) -> Summary:
    """Return mean, deviation and an interval that allows for overlapping training sets.

    Args:
        values: One score per fold; NaN, where the metric is undefined, is left out and counted.
        test_share: Mean of n_test / n_train over folds.
        n_left_out: Labels left out within folds, to be told along.
    """
    scores = np.asarray(values, dtype=np.float64)
    scores = scores[np.isfinite(scores)]
    n, n_undefined = len(scores), len(values) - len(scores)
    if n == 0:
        return Summary(np.nan, np.nan, None, 0, n_undefined, n_left_out)
    mean, std = float(scores.mean()), float(scores.std())
    if n == 1:
        return Summary(mean, std, None, n, n_undefined, n_left_out)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2) * corrected_error(scores, test_share))
    return Summary(mean, std, (mean - half, mean + half), n, n_undefined, n_left_out)


def corrected_error(scores: NDArray[np.float64], test_share: float) -> float:
    """Return the standard error of a mean over folds, overlapping training sets allowed for.

    Folds share most of their training rows, so their scores are correlated, and the usual squared
    error of the mean, variance / n, is far too small. Corrected, it is
    variance * (1 / n + n_test / n_train).

    Args:
        scores: One score, or difference of scores, per fold; two of them at least.
        test_share: Mean of n_test / n_train over folds.

    References:
        Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.
    """
    return float(np.sqrt(scores.var(ddof=1) * (1 / len(scores) + test_share)))
