"""Summaries of scores over folds: means, intervals and their bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.intervals import CASES, simulate_scores
from pipeline.scoring.statistics import summarise


def test_the_interval_is_that_of_the_corrected_resampled_t_statistic():
    values = np.array([0.80, 0.84, 0.79, 0.83, 0.81, 0.82, 0.85, 0.78, 0.80, 0.83])
    summary = summarise(values, test_fraction=1 / 9)
    assert summary.mean == pytest.approx(0.815)
    assert summary.std == pytest.approx(values.std(ddof=0))
    standard_error = np.sqrt((1 / 10 + 1 / 9) * values.var(ddof=1))
    low, high = stats.t.interval(0.95, df=9, loc=0.815, scale=standard_error)
    assert summary.ci == pytest.approx((low, high))
    naive = stats.t.interval(0.95, df=9, loc=0.815, scale=values.std(ddof=1) / np.sqrt(10))
    assert high - low > naive[1] - naive[0]
    assert (summary.n_folds, summary.n_undefined) == (10, 0)


def test_folds_with_an_undefined_metric_are_skipped_and_counted():
    summary = summarise([0.8, np.nan, 0.6, 0.7, np.nan], 0.1, n_undefined_labels=4)
    defined = summarise([0.8, 0.6, 0.7], 0.1)
    assert (summary.mean, summary.std, summary.ci) == (defined.mean, defined.std, defined.ci)
    assert (summary.n_folds, summary.n_undefined, summary.n_undefined_labels) == (3, 2, 4)
    assert summarise([np.nan, 0.8], 0.1).ci is None
    nothing = summarise([np.nan, np.nan], 0.1)
    assert np.isnan(nothing.mean)
    assert (nothing.ci, nothing.n_folds, nothing.n_undefined) == (None, 0, 2)


def test_a_single_fold_has_no_interval():
    assert summarise([0.8], 0.1).ci is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.floats(0.01, 1))
def test_intervals_stay_within_the_range_and_contain_the_mean(values, test_fraction):
    unbounded = summarise(values, test_fraction)
    bounded = summarise(values, test_fraction, bounds=(0.0, 1.0))
    assert (bounded.mean, bounded.std) == (unbounded.mean, unbounded.std)
    assert 0 <= bounded.ci[0] <= bounded.ci[1] <= 1
    for end, unclipped in zip(bounded.ci, unbounded.ci, strict=True):
        assert end == unclipped or not 0 <= unclipped <= 1


def test_clipped_intervals_cover_the_expected_score_as_often_as_unclipped_ones():
    case = CASES[1]
    scores = simulate_scores(case, n_tables=200, seed=0)
    expected_score = scores.mean()
    covered = {bounds: [] for bounds in ((-np.inf, np.inf), (0.0, 1.0))}
    for bounds, results in covered.items():
        for values in scores:
            low, high = summarise(values, case.test_fraction, bounds=bounds).ci
            results.append(low <= expected_score <= high)
    unclipped, clipped = covered.values()
    assert clipped == unclipped
    assert np.mean(clipped) > 0.9
