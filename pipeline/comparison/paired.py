"""Two configurations on the same folds: how far apart they are, how surely, and whether it matters.

Both tests here rest on one Student distribution around the mean difference of the folds, whose
scale allows for overlapping training sets. Read as what chance would do, it gives p and interval;
read as what is known of the true difference, it gives the probabilities.

References:
    Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003: the scale.
    Benavoli, Corani, Demsar and Zaffalon, Time for a Change: a Tutorial for Comparing Multiple
    Classifiers Through Bayesian Analysis, JMLR 18(77), 2017: the probabilities. Their correlation
    of folds is the test share of the rows, so that rho / (1 - rho) is n_test / n_train.
    Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of
    Statistics 6, 1979.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from pipeline.scoring import corrected_error

SAME = 1e-12  # of the largest score: spread of differences that is rounding


@dataclass(frozen=True)
class PairedTest:
    """What the folds say of the first configuration's advantage over the second.

    Attributes:
        ci: Ends of its interval, of confidence 1 - alpha.
        p: Chance of one as large, either way, where there is none: the corrected resampled t test.
        better: Probability that the first is better by more than the region of equivalence.
        equivalent: Probability that the two are within the region.
        worse: Probability that the first is worse by more than the region.
    """

    ci: tuple[float, float]
    p: float
    better: float
    equivalent: float
    worse: float


def paired_test(
    advantages: NDArray[np.float64], test_share: float, *, alpha: float, rope: float
) -> PairedTest:
    """Return the test of a mean advantage over folds.

    Args:
        advantages: By how much the first is better in each fold; two folds at least, not all equal.
        test_share: Mean of n_test / n_train over folds.
        alpha: One less the confidence of the interval.
        rope: Half the width of the region of practical equivalence.
    """
    mean, error = float(advantages.mean()), corrected_error(advantages, test_share)
    df = len(advantages) - 1
    half = float(stdtrit(df, 1 - alpha / 2)) * error
    better, worse = (float(stdtr(df, (sign * mean - rope) / error)) for sign in (1, -1))
    return PairedTest(
        ci=(mean - half, mean + half),
        p=float(2 * stdtr(df, -abs(mean) / error)),
        better=better,
        equivalent=max(0.0, 1 - better - worse),
        worse=worse,
    )


def are_constant(differences: NDArray[np.float64], largest: float) -> bool:
    """Return whether all differences are one, but for rounding: no deviation, nothing to test by.

    Args:
        differences: One per fold.
        largest: The largest absolute score that they are differences of.
    """
    return bool(np.ptp(differences) <= SAME * largest)


def holm(p: NDArray[np.float64], n_tests: int | None = None) -> NDArray[np.float64]:
    """Return the p-values adjusted so that, of all tests, one false finding has chance alpha.

    Args:
        p: One p-value per test.
        n_tests: How many tests there were, where p has only some of them; the result is then no
            smaller than all of them together would give.
    """
    order = np.argsort(p, kind="stable")
    remaining = (n_tests or len(p)) - np.arange(len(p))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * remaining), 1)
    return adjusted
