"""Racing: when a configuration stops, against scipy and by simulation, and that it does stop."""

import math
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special, stats

from benchmarks.racing import search, simulate_scores, stop_rates
from pipeline.commands import compare
from pipeline.cv.splitters import make_splits
from pipeline.dataset.loading import load
from pipeline.errors import UserError
from pipeline.evaluation import checkpoint
from pipeline.evaluation.racing import Race, make_race, p_behind_best, raced_metric
from tests.command_runner import CommandRunner

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


@pytest.mark.parametrize("n_candidates", [2, 5, 30])
@pytest.mark.parametrize(("n_folds", "n_repeats"), [(10, 3), (5, 2)])
def test_p_values_are_uniform_against_the_best_of_equally_good_candidates(
    n_folds, n_repeats, n_candidates
):
    rng = np.random.default_rng(2)
    q = 1 / (n_folds - 1)
    of_rows, of_folds = (np.sqrt(part / (1 + q)) for part in (q, 1))  # by the test's own model
    scores = of_folds * rng.normal(size=(400, n_candidates + 1, n_folds * n_repeats))
    scores += of_rows * rng.normal(size=(*scores.shape[:2], 1))
    best = scores[:, 1:].mean(axis=2).argmax(axis=1) + 1
    race = Race("run", (), "accuracy", False, 0.05, q, n_candidates, n_repeats)
    p, naive = np.empty((2, len(scores)))
    for i, configurations in enumerate(scores[:, :, :n_folds]):
        against_best = replace(race, scores=tuple(configurations[best[i]]))
        p[i] = against_best.decide(configurations[0]).p
        naive[i] = replace(against_best, n_candidates=1).decide(configurations[0]).p
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert (p < 0.05).mean() < 0.08
    assert stats.kstest(naive, "uniform").pvalue < 0.01


def race_rule(n_splits, adjusts, differences, n_previous):
    """Stop trials as a job of a search does."""
    n_repeats = differences.shape[1] // n_splits
    race = Race("run", (0.0,) * n_splits, "accuracy", False, 0.05, 1 / (n_splits - 1))
    race = replace(race, n_candidates=n_previous if adjusts else 1, n_repeats=n_repeats)
    stops = [race.decide(scores).stop for scores in differences[:, :n_splits]]
    return np.where(stops, n_splits, differences.shape[1])


@pytest.mark.parametrize(("n_splits", "n_repeats"), [(10, 3), (5, 2)])
def test_a_search_stops_equally_good_configurations_as_rarely_as_it_should(n_splits, n_repeats):
    rng, n_folds = np.random.default_rng(4), n_splits * n_repeats
    scores = simulate_scores(rng, 20, n_folds, 1 / n_splits, n_searches=100)
    rate, naive = (
        stop_rates(search(scores, partial(race_rule, n_splits, adjusts)), n_folds).mean()
        for adjusts in (True, False)
    )
    assert rate < 0.065
    assert naive > 0.12
    scores[:, ::2] -= 5  # half of them are far behind the others, which are equally good
    stopped = search(scores, partial(race_rule, n_splits, True)) < n_folds
    assert stopped[:, 3::2].mean() < 0.06
    assert stopped[:, 2::2].mean() > 0.8


@pytest.mark.parametrize("t", [-1e6, -30.0, -4.0, -1.0, 0.0, 3.0])
@pytest.mark.parametrize(("df", "correlation"), [(1, 0.5), (4, 0.4), (9, 0.342), (49, 0.2)])
def test_p_values_agree_with_an_integral_over_quantiles(t, df, correlation):
    for n_candidates in (2, 30):
        p = p_behind_best(t, df, n_candidates, correlation)
        assert p == pytest.approx(integrate_p(t, df, n_candidates, correlation), rel=0.01, abs=1e-3)
        assert p > p_behind_best(t, df, 1, correlation) - 1e-15
    assert p_behind_best(t, df, 1, correlation) == pytest.approx(stats.t.cdf(t, df))


def integrate_p(t, df, n_candidates, correlation):
    """Average over quantiles of the largest normal variable and of S."""
    u = (np.arange(1000) + 0.5) / 1000
    s = np.sqrt(stats.chi2.ppf(u, df) / df)
    best = stats.norm.ppf(u ** (1 / n_candidates))
    x = (t * s[:, None] + math.sqrt(correlation) * best) / math.sqrt(1 - correlation)
    return special.ndtr(x).mean()


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
    race = make_race(config, "hamming_loss", splits, [0.1 * i for i in range(8)])
    assert race.scores == (0.0, 0.1, 0.2, pytest.approx(0.3))
    assert race.lower_is_better
    assert race.test_fraction == pytest.approx(1 / 3)
    assert (race.n_candidates, race.n_repeats) == (1, 2)
    maximized = replace(config, racing=replace(config.racing, direction="maximize"))
    assert not make_race(maximized, "hamming_loss", splits, [0.0] * 8).lower_is_better
    own = replace(config, scoring=replace(config.scoring, greater_is_better={"rmse": False}))
    assert make_race(own, "rmse", splits, [0.0] * 8).lower_is_better


SMALL = (
    *("dataset.n_samples=120", "dataset.predict_rows=[]", "cv.n_splits=4", "cv.n_repeats=2"),
    *("training.epochs=5", "report=none"),
)
BAD = (*SMALL, "training.learning_rate=1e-9")


def histories(store: CommandRunner, run) -> dict[str, dict[int, float]]:
    """Return the last value of each step of the metrics that all complete runs have."""
    skipped = ("first_repeat/", "racing/", "fits_saved", "seconds")
    return {
        name: {it.step: it.value for it in store.client.get_metric_history(run.info.run_id, name)}
        for name in run.data.metrics
        if not name.startswith(skipped)
    }


def test_a_stopped_run_is_completed_without_racing(tmp_path, monkeypatch, capsys):
    store = CommandRunner(tmp_path)
    run = store.run_here
    run(*SMALL, "training.learning_rate=0.05", "tracking.run_name=good")
    race = ("racing=first_repeat", "racing.incumbent=good", "racing.alpha=0.4")
    run(*BAD, *race, "tracking.run_name=bad")
    (stopped, _) = store.runs()
    assert stopped.data.tags["stopped_after_repeat"] == "1"
    assert not [name for name in stopped.data.metrics if name.startswith("epoch/")]
    run_id = stopped.info.run_id
    folds = sorted(path.name for path in (tmp_path / "checkpoints" / run_id).iterdir())
    assert folds == [f"0-{fold}.npz" for fold in range(4)]

    out, _ = run(*BAD, *race, "resume=true")  # the race stops it again
    assert f"Reusing finished run {run_id}" in out
    assert "Accuracy of the first repeat: " in out
    assert "Repeat the command without racing to complete it." in " ".join(out.split())
    assert "stopped_because" in store.client.get_run(run_id).data.tags

    out, _ = run(*BAD, "resume=true")
    assert f"Continuing run {run_id}: 4 of 8 folds are finished." in out
    completed = store.client.get_run(run_id)
    assert not {"stopped_after_repeat", "stopped_because"} & completed.data.tags.keys()
    assert completed.data.metrics["fits_saved"] == 0
    checkpoint._disk().submit(int).result()  # the folder is removed in the background
    assert not (tmp_path / "checkpoints" / run_id).exists()
    assert len(store.client.get_metric_history(run_id, "fold/accuracy")) == 8

    for again in (BAD, (*BAD, *race)):
        out, _ = run(*again, "resume=true")
        assert f"Reusing finished run {run_id}" in out
    assert len(store.runs()) == 2
    undisturbed = CommandRunner(tmp_path / "undisturbed")
    undisturbed.run_here(*BAD)
    (expected,) = undisturbed.runs()
    assert histories(store, completed) == histories(undisturbed, expected)

    monkeypatch.setattr(compare, "mlruns", lambda: tmp_path)
    assert compare.main(["good", run_id, f"tracking.uri={store.uri}"]) == 0
    assert "of 8 folds" in capsys.readouterr().out


def test_weights_take_part_in_races_sweeps_and_resumed_runs(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 3))
    y = X[:, :2] + 0.5 * rng.normal(size=(160, 2)) > 0
    names = ["a", "b", "c", "tag_a", "tag_b", "w"]
    frame = pd.DataFrame(np.c_[X, y, rng.choice([0.5, 1, 4], 160)], columns=names)
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = ("dataset=table", f"dataset.path='{tmp_path}/t.csv'", "dataset.labels=[tag_*]")
    weighted = ("dataset.weight_column=w", "scoring.weighted=true")
    options = (*table, *SMALL[2:], "scoring.metrics=[f1_macro]")
    grid = ("hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", "model=logistic,dummy")
    sweep = ("--multirun", *options, *weighted, *grid)
    store = CommandRunner(tmp_path)
    out, _ = store.run_here(*sweep, "racing=first_repeat", "racing.alpha=0.4")
    assert "Racing stopped 1 of 2 trials after their first repeat" in out
    out, _ = store.run_here(*sweep, "resume=true")  # without racing
    jobs, _ = store.jobs_and_parent()
    assert {job.data.metrics.get("fits_saved", 0) for job in jobs} == {0}
    alone, scores = CommandRunner(tmp_path / "alone"), []
    for settings in (weighted, ("dataset.drop=[w]",)):
        alone.run_here(*options, *settings, "model=dummy")
        scores.append(histories(alone, alone.runs()[0])["fold/f1_macro"])
    assert histories(store, jobs[1])["fold/f1_macro"] == scores[0] != scores[1]


def test_a_race_that_no_longer_stops_a_run_completes_it(tmp_path):
    store = CommandRunner(tmp_path)
    run = store.run_here
    sklearn = (*SMALL, "model=dummy")
    run(*SMALL, "model=logistic", "tracking.run_name=good")
    race = ("racing=first_repeat", "racing.incumbent=good")
    run(*sklearn, *race, "racing.alpha=0.49")
    (stopped, _) = store.runs()
    assert "stopped_because" in stopped.data.tags
    shutil.rmtree(tmp_path / "checkpoints")  # all folds are trained, then
    out, _ = run(*sklearn, *race, "racing.alpha=1e-9", "resume=true")
    assert f"Continuing run {stopped.info.run_id}: 0 of 8 folds are finished." in out
    completed = store.client.get_run(stopped.info.run_id)
    assert "stopped_because" not in completed.data.tags
    assert "accuracy_mean" in completed.data.metrics
