"""The paired test and Holm's adjustment against other implementations and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.integrate import quad
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from benchmarks.comparison import LEVEL, simulate
from pipeline.scoring.statistics import holm, paired_test

SCORES = st.floats(-1, 1).map(lambda value: round(value, 6))
DIFFERENCES = arrays(float, st.integers(2, 30), elements=SCORES).filter(lambda d: np.ptp(d) > 1e-3)


def test_results_equal_those_of_scikit_learns_example():
    # Its example "Statistical comparison of models using grid search": t, one-sided p, and the
    # probabilities of worse, better and equivalent within 0.01.
    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    cv = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    models = {"rbf": SVC(), "linear": SVC(kernel="linear"), "cubic": SVC(kernel="poly")}
    scores = {
        name: cross_val_score(model, X, y, scoring="roc_auc", cv=cv)
        for name, model in models.items()
    }
    published = {
        ("rbf", "linear"): (0.750, 0.227, 0.068, 0.500, 0.432),
        ("rbf", "cubic"): (1.657, 0.050, 0.018, 0.882, 0.100),
        ("linear", "cubic"): (1.111, 0.135, 0.063, 0.750, 0.187),
    }
    for (first, second), (t, p, worse, better, equivalent) in published.items():
        result = paired_test(scores[first] - scores[second], 10 / 90, alpha=0.05, rope=0.01)
        assert result.p / 2 == pytest.approx(p, abs=6e-4)
        assert stats.t.isf(result.p / 2, 99) == pytest.approx(t, abs=6e-4)
        probabilities = (result.worse, result.better, result.equivalent)
        assert probabilities == pytest.approx((worse, better, equivalent), abs=6e-4)


def test_probabilities_equal_those_of_baycomp():
    # baycomp 1.0.3, two_on_single(second, first, rope, runs=2): P(worse), P(equivalent), P(better).
    first = [73, 75, 70, 77, 76, 70, 78, 72, 72, 77, 74, 73, 73, 75, 74, 74, 73, 77, 71, 74]
    second = [71, 74, 68, 77, 73, 70, 75, 72, 69, 76, 72, 73, 70, 74, 75, 71, 73, 74, 70, 73]
    for rope, expected in {
        0.0: (0.007822197442311607, 0, 0.9921778025576884),
        0.01: (0.00010925063314448554, 0.22862926317765242, 0.7712614861892031),
        0.02: (1.7607453104361834e-06, 0.8653036354131273, 0.1346946038415623),
    }.items():
        differences = (np.array(first) - second) / 100
        result = paired_test(differences, 1 / 9, alpha=0.05, rope=rope)
        probabilities = (result.worse, result.equivalent, result.better)
        assert probabilities == pytest.approx(expected, rel=1e-9, abs=1e-15)


@given(differences=DIFFERENCES)
def test_without_overlap_it_equals_the_paired_t_test(differences):
    result = paired_test(differences, 0.0, alpha=0.1, rope=0.0)
    expected = stats.ttest_1samp(differences, 0)
    assert result.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    interval = expected.confidence_interval(0.9)
    assert result.ci == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)


@given(differences=DIFFERENCES, test_fraction=st.floats(0, 1), rope=st.floats(0, 0.5))
@settings(max_examples=25)
def test_the_probabilities_are_areas_under_the_posterior(differences, test_fraction, rope):
    n, mean = len(differences), differences.mean()
    rho = test_fraction / (1 + test_fraction)  # fraction of all rows that are test rows
    scale = math.sqrt(differences.var(ddof=1) * (1 / n + rho / (1 - rho)))
    nu = n - 1
    height = math.gamma((nu + 1) / 2) / (math.gamma(nu / 2) * math.sqrt(nu * math.pi))

    def density(z):
        return height * (1 + z * z / nu) ** (-(nu + 1) / 2)

    low, high = (-rope - mean) / scale, (rope - mean) / scale
    result = paired_test(differences, test_fraction, alpha=0.05, rope=rope)
    assert result.worse == pytest.approx(quad(density, -np.inf, low)[0], abs=1e-6)
    assert result.better == pytest.approx(quad(density, high, np.inf)[0], abs=1e-6)
    assert result.worse + result.equivalent + result.better == pytest.approx(1)


@given(differences=DIFFERENCES, test_fraction=st.floats(0, 1))
def test_swapping_the_configurations_swaps_the_result(differences, test_fraction):
    forward = paired_test(differences, test_fraction, alpha=0.05, rope=0.01)
    backward = paired_test(-differences, test_fraction, alpha=0.05, rope=0.01)
    assert (forward.p, forward.better, forward.worse) == (
        backward.p,
        backward.worse,
        backward.better,
    )
    assert forward.ci == (-backward.ci[1], -backward.ci[0])
    assert (forward.p < 0.05) == (forward.ci[0] > 0 or forward.ci[1] < 0)


def test_at_most_8_percent_of_equal_learners_differ_significantly():
    # The corrected test keeps its level where the naive one finds a difference every fourth time.
    naive, corrected = (simulate(seed=0, n_repeats=3) < LEVEL).mean(axis=0)
    assert corrected <= 0.08
    assert naive > 0.2


def test_holm_by_hand():
    # 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1 which may not be below the one before it.
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.4, 0.6])) == pytest.approx([0.8, 0.8])


P_VALUES = arrays(float, st.integers(1, 8), elements=st.floats(0, 1))


@given(p=P_VALUES, alpha=st.floats(0.001, 0.999))
def test_holm_rejects_the_same_as_stepping_down(p, alpha):
    rejected = set()
    for step, i in enumerate(np.argsort(p, kind="stable")):
        if p[i] * (len(p) - step) >= alpha:
            break
        rejected.add(int(i))
    assert set(np.flatnonzero(holm(p) < alpha)) == rejected


@given(p=P_VALUES, data=st.data())
def test_holm_of_a_subset_is_never_below_holm_of_all(p, data):
    subset = sorted(data.draw(st.sets(st.integers(0, len(p) - 1), min_size=1)))
    assert (holm(p[subset], n_tests=len(p)) >= holm(p)[subset] - 1e-12).all()
