"""Metrics of the probabilities themselves, over all single labels of the table."""

import numpy as np

from pipeline.scoring.arrays import Labels, Scores

N_BINS = 15
EPSILON = float(np.finfo(np.float32).eps)  # a float32 probability of 1 is at least this uncertain


def log_loss(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return the mean binary cross-entropy: scikit-learn's log loss of each label, averaged."""
    y_score = np.clip(y_score, EPSILON, 1 - EPSILON)
    return float(-np.log(np.where(y_true == 1, y_score, 1 - y_score), dtype=np.float64).mean())


def brier_score(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return the mean squared error of the probabilities; 0 is best.

    References:
        Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather
        Review 78, 1950.
    """
    return float(np.square(y_score - y_true, dtype=np.float64).mean())


def expected_calibration_error(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return how far probabilities are from frequencies, as a mean over 15 bins of equal width.

    In each bin, the mean probability is compared with the share of labels that are present; the
    distances are weighted by the number of entries. Of few entries, it is biased upwards: a
    perfectly calibrated model does not reach 0.

    References:
        Naeini, Cooper and Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian
        Binning, AAAI 2015; Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    scores = y_score.ravel().astype(np.float64)
    bins = np.maximum(np.ceil(scores * N_BINS).astype(np.int64) - 1, 0)  # 0 joins the first bin
    excess = np.bincount(bins, weights=scores - y_true.ravel(), minlength=N_BINS)
    return float(np.abs(excess).sum() / len(scores))
