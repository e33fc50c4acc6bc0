"""A search from Hydra's sweep to its report; only the last test trains models."""

import itertools
import math
import re
import sys
from contextlib import nullcontext

import pytest
from search_runner import RUN_IDS, SPACE, SearchRunner, outcome, quadratic

from pipeline import sweeps
from pipeline.commands import leaderboard
from pipeline.config.compose import parse_config
from pipeline.errors import UserError
from pipeline.outcome import Outcome
from tests.command_runner import CommandRunner


@pytest.fixture
def search(tmp_path, monkeypatch) -> SearchRunner:
    return SearchRunner(tmp_path, monkeypatch)


def sampled(search: SearchRunner) -> list[tuple[str, str]]:
    return [(job["model.dropout"], job["training.learning_rate"]) for job in search.jobs]


def test_tpe_learns_and_random_does_not(search):
    late = {}
    for sampler in ("tpe", "random"):
        search.run(
            quadratic, *SPACE, f"hydra.sweeper.sampler={sampler}", "hydra.sweeper.n_trials=40"
        )
        scores = [trial.value for trial in search.trials()]
        assert len(scores) == 40
        late[sampler] = sum(scores[20:]) / 20
    assert late["tpe"] > late["random"] + 0.02


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_seed_repeats_a_search_and_another_does_not(search, sampler):
    samples = []
    for seed in (1, 1, 2):
        options = (f"hydra.sweeper.sampler={sampler}", f"hydra.sweeper.seed={seed}")
        search.run(quadratic, *SPACE, *options, "hydra.sweeper.n_trials=14")
        samples.append(sampled(search))
    assert samples[0] == samples[1]
    assert len(set(samples[0])) == 14
    assert not set(samples[0]) & set(samples[2])


def test_a_duplicate_is_not_run_again(search, capsys):
    options = ("hydra.sweeper.n_trials=20", "training.batch_size=16,32")
    search.run(lambda values: outcome(accuracy=int(values["training.batch_size"]) / 100), *options)
    assert len(search.jobs) == 2
    assert len(search.trials()) == 20
    assert capsys.readouterr().out.count("it is not run again") == 18


def test_the_search_continues_after_failed_trials(search, capsys):
    def job(values):
        number = len(search.jobs) - 1
        if number == 1:
            return Outcome(1, failure="ValueError: broken")
        if number == 3:
            raise RuntimeError("no memory")
        if number == 5:
            return outcome(accuracy=math.nan)
        return Outcome(1, failure="ValueError: broken") if number == 6 else quadratic(values)

    search.run(job, *SPACE, "hydra.sweeper.n_trials=8")
    states = [trial.state.name for trial in search.trials()]
    assert states == ["COMPLETE", "FAIL"] * 3 + ["FAIL", "COMPLETE"]
    assert sweeps.OptunaSweeper.n_failed == 4
    errors = capsys.readouterr().err
    assert "2 failed (trials 1, 6): ValueError: broken" in errors
    assert "1 failed (trials 3): RuntimeError: no memory" in errors
    assert "1 failed (trials 5): accuracy_mean is undefined" in errors


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_a_resumed_search_equals_an_uninterrupted_one(search, n_jobs, capsys):
    options = (*SPACE, "hydra.sweeper.n_trials=16", f"hydra.sweeper.n_jobs={n_jobs}")
    search.run(quadratic, *options)
    uninterrupted, scores = sampled(search), [trial.value for trial in search.trials()]

    def interrupt_after(last):
        def job(values):
            if len(search.jobs) > last:
                raise KeyboardInterrupt
            return quadratic(values)

        return job

    tried = []
    search.n_searches += 1
    search.resume = True
    for last in (5, 6, 99):
        with pytest.raises(KeyboardInterrupt) if last < 99 else nullcontext():
            search.run(interrupt_after(last), *options)
        tried += sampled(search)
    n_evaluated = 5 // n_jobs * n_jobs
    assert f"maximize accuracy_mean, {n_evaluated} of them evaluated" in capsys.readouterr().out
    by_index = {trial.user_attrs["config_index"]: trial.value for trial in search.trials()}
    assert [by_index[index] for index in range(16)] == scores
    assert list(dict.fromkeys(tried)) == uninterrupted
    search.run(quadratic, *options)
    assert search.jobs == []
    search.run(quadratic, *options, "hydra.sweeper.n_trials=18")
    assert len(search.jobs) == 2


def test_the_pareto_front_of_several_objectives_is_printed(search, capsys):
    def job(values):
        x = float(values["model.dropout"])
        return outcome(accuracy=round(x, 1), hamming_loss=round(x * x, 1), f1_micro=0.5)

    metrics = "hydra.sweeper.metrics=[accuracy,hamming_loss]"
    search.run(job, SPACE[0], metrics, "hydra.sweeper.n_trials=12", "hydra.sweeper.sampler=random")
    values = {trial.number: trial.values for trial in search.trials()}

    def is_dominated(one):
        return any(
            other[0] >= one[0] and other[1] <= one[1] and other != one for other in values.values()
        )

    front = {number for number, one in values.items() if not is_dominated(one)}
    assert 1 < len(front) < 12
    printed = capsys.readouterr().out
    (line,) = re.findall(
        "^Pareto front of accuracy_mean and hamming_loss_mean: runs (.*)$", printed, re.M
    )
    runs = dict(re.findall(r"^Trial (\d+): .*, run (\w+)$", printed, re.M))
    assert set(line.split(", ")) == {runs[str(number)] for number in front}


def test_hydra_composes_the_jobs(search):
    configs = []

    def task(composed):
        config = parse_config(composed)
        configs.append(config)
        return outcome(accuracy=config.model.dropout)

    space = ("model.hidden_units=choice([20],[64,32])", "model.dropout=interval(0.1,0.5)")
    more = ("experiment=emotions", "dataset.path=a file.arff", "hydra.sweeper.n_trials=5")
    search.run_hydra(task, *space, *more, "+hydra.sweeper.params={training.epochs:7}")
    assert len({(config.model.dropout, config.model.hidden_units) for config in configs}) == 5
    assert {config.model.hidden_units for config in configs} == {(20,), (64, 32)}
    assert {config.training.epochs for config in configs} == {7}
    assert {config.dataset.path for config in configs} == {"a file.arff"}


def test_a_missing_optuna_is_named_with_its_installation(search, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'manyfold\[optuna\]'"):
        search.run(quadratic, *SPACE)


def test_jobs_race_against_the_best_trial_so_far(search, capsys):
    def job(values):
        score = [0.5, 0.4, 0.7, 0.9, 0.8][len(search.jobs) - 1]
        is_stopped = len(search.jobs) == 4  # a first repeat of 0.9 is no evaluation
        return outcome(accuracy=score, hamming_loss=0.1, n_fits_skipped=21 if is_stopped else 0)

    first = next(RUN_IDS) + 1
    search.run(job, *SPACE, "racing=first_repeat", "hydra.sweeper.n_trials=5")
    incumbents = [job.get("racing.incumbent") for job in search.jobs]
    best = [None, 0, 0, 2, 2]
    assert incumbents == [None if index is None else f"run{first + index}" for index in best]
    assert [job.get("racing.n_candidates") for job in search.jobs] == [None, "1", "2", "3", "4"]
    assert {job["racing.metric"] for job in search.jobs[1:]} == {"accuracy"}
    assert [trial.state.name for trial in search.trials()] == ["COMPLETE"] * 3 + [
        "PRUNED",
        "COMPLETE",
    ]
    printed = capsys.readouterr().out
    assert printed.splitlines().count("Best so far: accuracy_mean 0.800, trial 4") == 1
    assert "Racing stopped 1 of 5 trials after their first repeat: 21 of 155 fits" in printed


def test_a_grid_runs_every_combination_once_in_order_and_races(search, capsys):
    grid = {"model": ["mlp", "tabm"], "seed": [3, 5], "model.dropout": [0.1, 0.2, 0.3]}
    space = ("model=mlp,tabm", "seed=range(3,7,2)", "model.dropout=range(0.1,0.35,0.1)")
    options = (*space, "hydra.sweeper.sampler=grid", "racing=first_repeat")

    def job(values):
        if len(search.jobs) == 5:
            raise KeyboardInterrupt
        return outcome(accuracy=float(values["model.dropout"]))

    def combinations():
        return [tuple(job[key] for key in grid) for job in search.jobs]

    expected = [tuple(map(str, values)) for values in itertools.product(*grid.values())]
    with pytest.raises(KeyboardInterrupt):
        search.run(job, *options)
    assert combinations() == expected[:5]
    assert all("racing.incumbent" in job for job in search.jobs[1:])
    search.resume = True
    search.run(lambda values: outcome(accuracy=0.5), *options)
    assert combinations() == expected[4:]
    assert "Search: 12 configurations" in capsys.readouterr().out


def test_a_search_without_racing_completes_stopped_trials(search, capsys):
    def job(values):
        is_stopped = "racing.incumbent" in values
        return outcome(accuracy=0.5, n_fits_skipped=21 if is_stopped else 0)

    options = (*SPACE, "hydra.sweeper.n_trials=3")
    search.run(job, *options, "racing=first_repeat")
    stopped = sampled(search)[1:]
    assert "Racing stopped 2 of 3 trials" in capsys.readouterr().out
    search.resume = True
    search.run(job, *options, "racing=first_repeat")
    assert search.jobs == []
    search.run(job, *options)
    assert sampled(search) == stopped
    search.run(job, *options)
    assert search.jobs == []
    by_index = {trial.user_attrs["config_index"]: trial.state.name for trial in search.trials()}
    assert by_index == dict.fromkeys(range(3), "COMPLETE")


def test_a_duplicate_of_a_stopped_trial_counts_once(search, capsys):
    def job(values):
        is_stopped = "racing.incumbent" in values
        return outcome(accuracy=0.5, n_fits_skipped=21 if is_stopped else 0)

    options = ("training.batch_size=16,32", "hydra.sweeper.n_trials=12", "racing=first_repeat")
    search.run(job, *options)
    assert "Racing stopped 1 of 2 trials after their first repeat: 21 of 62" in (
        capsys.readouterr().out
    )


def test_an_own_metric_needs_a_direction(search):
    metrics = "scoring.metrics=[tests.test_search.rmse]"
    with pytest.raises(UserError, match=r"scoring\.greater_is_better: missing for tests"):
        search.run(quadratic, *SPACE, metrics)
    assert not search.jobs
    direction = "scoring.greater_is_better={rmse: false}"
    values = iter((0.3, 0.1, 0.2))
    search.run(
        lambda _: outcome(rmse=next(values)),
        *(*SPACE, metrics, direction, "racing=first_repeat", "hydra.sweeper.n_trials=3"),
    )
    assert [job.get("racing.direction") for job in search.jobs[1:]] == ["minimize"] * 2
    assert search.jobs[2]["racing.incumbent"] == search.trials()[1].user_attrs["run_id"]


def rmse(y_true, y_score, y_pred):
    """Return the root mean squared error of the probabilities."""
    return math.sqrt(((y_score - y_true) ** 2).mean())


def test_a_search_end_to_end(tmp_path, capsys):
    store = CommandRunner(tmp_path)
    out, err = store.run_here(
        *("--multirun", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "racing=first_repeat"),
        *("dataset.n_samples=200", "cv.n_splits=4", "cv.n_repeats=2", "training.epochs=20"),
        "report=none",
        "training.learning_rate=0.05,1e-6,0",
        *("hydra.sweeper.metrics=[hamming_loss]", "hydra.sweeper.seed=69"),  # in this order
        code=1,
    )
    assert "1 failed (trials 2): Configuration refused: training.learning_rate" in err
    assert "Racing stopped 1 of 2 trials after their first repeat: 5 of 18 fits" in out
    assert "Search: 3 configurations to minimize hamming_loss_mean" in out
    assert "rank  Hamming loss" in out  # what is searched for decides, not the headline
    assert "3 jobs: 2 finished, 1 failed" in out
    by_name = {run.info.run_name: run for run in store.runs()}
    complete, stopped = (by_name[f"training.learning_rate={rate}"] for rate in ("0.05", "1e-06"))
    assert {run.info.status for run in (complete, stopped)} == {"FINISHED"}
    assert stopped.data.tags["stopped_after_repeat"] == "1"
    assert f"behind run {complete.info.run_id}" in stopped.data.tags["stopped_because"]
    assert "accuracy_mean" not in stopped.data.metrics
    assert "first_repeat/accuracy_mean" in stopped.data.metrics
    assert stopped.data.metrics["fits_saved"] == 5
    steps = [m.step for m in store.client.get_metric_history(stopped.info.run_id, "fold/accuracy")]
    assert sorted(steps) == [0, 1, 2, 3]
    assert "stopped_after_repeat" not in complete.data.tags
    parent = next(run.info.run_id for run in store.runs() if "is_sweep" in run.data.tags)
    capsys.readouterr()
    assert leaderboard.main([parent, f"tracking.uri={store.uri}"]) == 0
    assert "rank  Hamming loss" in capsys.readouterr().out
