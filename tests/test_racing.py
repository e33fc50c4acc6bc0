"""Racing: when a configuration stops, against scipy and by simulation, and that it does stop."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pipeline.cv.splitters import make_splits
from pipeline.dataset.loading import load
from pipeline.errors import UserError
from pipeline.evaluation.racing import Race, make_race, raced_metric

RACE = Race("run", (0.0,) * 10, "accuracy", False, 0.05, 1 / 9)


@given(arrays(float, st.integers(2, 30), elements=st.floats(-1, 1)), st.floats(0, 1))
def test_the_corrected_t_is_students_with_a_larger_error(differences, test_fraction):
    assume(np.ptp(differences) > 1e-3)
    n = len(differences)
    usual = stats.ttest_1samp(differences, 0).statistic
    expected = usual / math.sqrt(1 + n * test_fraction)
    decision = replace(RACE, scores=(0.0,) * n, test_fraction=test_fraction).decide(differences)
    assert decision.p == pytest.approx(stats.t.cdf(expected, n - 1))
    assert decision.advantage == pytest.approx(differences.mean())
    assert decision.stop == (decision.p < 0.05)


def test_as_good_as_the_incumbent_stops_as_rarely_as_it_should():
    rng = np.random.default_rng(0)
    n, share = 10, 1 / 9
    # Folds that share training rows: all differences move together, by the test's own model.
    together = math.sqrt(share / (1 + share))
    noise = together * rng.normal(size=(4000, 1))
    noise = noise + math.sqrt(1 - together**2) * rng.normal(size=(4000, n))
    stopped = np.mean([RACE.decide(advantages).stop for advantages in noise])
    naive = np.mean(stats.ttest_1samp(noise, 0, axis=1, alternative="less").pvalue < 0.05)
    assert 0.04 < stopped < 0.06
    assert naive > 0.1


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_only_what_is_behind_stops(lower_is_better):
    rng = np.random.default_rng(1)
    far = rng.normal(0.3, 0.01, size=10)
    race = replace(RACE, lower_is_better=lower_is_better)
    assert race.decide(far).stop == lower_is_better
    assert race.decide(-far).stop != lower_is_better
    assert race.decide(far).advantage == pytest.approx(
        -far.mean() if lower_is_better else far.mean()
    )


def test_what_shows_no_noise_goes_on():
    assert RACE.decide([0.5] * 10) is None
    assert RACE.decide([math.nan] * 9 + [0.5]) is None
    some = replace(RACE, scores=(0.5, math.nan, 0.7, 0.6), test_fraction=1 / 3)
    assert some.decide([0.1, 0.9, 0.3, 0.25]).advantage == pytest.approx(-0.3833333)


def test_the_race_is_what_the_configuration_says(make_config):
    on = ("racing=first_repeat", "cv.n_splits=4", "cv.n_repeats=2")

    def metric(*overrides):
        config = make_config(*overrides)
        return raced_metric(config, make_splits(config.cv, load(config.dataset)))

    assert metric() is None
    assert metric(*on) is None  # against whom?
    assert metric(*on, "racing.incumbent=abc", "cv.n_repeats=1") is None
    assert metric(*on, "racing.incumbent=abc") == "accuracy"
    with pytest.raises(UserError, match=r"racing\.metric: 'f1_samples' is not among"):
        metric(*on, "racing.incumbent=abc", "racing.metric=f1_samples")

    config = make_config(*on, "racing.incumbent=abc", "racing.metric=hamming_loss")
    splits = make_splits(config.cv, load(config.dataset))
    race = make_race(config.racing, "hamming_loss", splits, [0.1 * i for i in range(8)])
    assert race.scores == (0.0, 0.1, 0.2, pytest.approx(0.3))
    assert race.lower_is_better
    assert race.test_fraction == pytest.approx(1 / 3)
    assert not make_race(
        replace(config.racing, direction="maximize"), "hamming_loss", splits, [0.0] * 8
    ).lower_is_better
