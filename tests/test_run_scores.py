"""Checks, names and averages of finished runs before they are compared."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.comparison.averaging import average_runs
from pipeline.comparison.run_scores import (
    MAX_RANKED,
    RunScores,
    check_paired,
    choose_metric,
    drop_duplicates,
    select_best,
    shorten_names,
)
from pipeline.errors import UserError


def make_run(name="a", data="D", split="S", metrics=("accuracy", "log_loss"), **settings):
    means = {metric.rpartition(".")[2]: 0.5 for metric in metrics}
    return RunScores(name, (name * 32,), data, split, metrics, means, settings)


def test_runs_with_equal_data_and_folds_can_be_paired():
    check_paired([make_run("a"), make_run("b")])


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "Expected at least two finished runs. Received: none."),
        (
            [make_run("a")],
            "Expected at least two finished runs. Received: only 'a'.",
        ),
        (
            [make_run("a"), make_run("b", split="other"), make_run("c")],
            "Expected runs with the same folds, as only their scores can be paired. Received: "
            "splits with digest S in 'a', 'c'; splits with digest other in 'b'. Run them again "
            "with the same settings of cv, or compare runs with the same splits.",
        ),
        (
            [make_run("a"), make_run("b", data="other", split="other")],
            "Expected runs on the same data, as only their scores can be paired. Received: data "
            "with digest D in 'a'; data with digest other in 'b'. Compare the runs of one data set "
            "at a time, or over data sets: manyfold compare --across",
        ),
    ],
)
def test_runs_that_cannot_be_paired_are_errors(runs, message):
    with pytest.raises(UserError) as error:
        check_paired(runs)
    assert str(error.value) == message


def test_the_message_lists_the_differing_settings():
    one, other = ({"cv.n_splits": n, "seed": n, "report.html": n} for n in ("3", "5"))
    runs = [make_run("a", **one), make_run("b", split="other", **other)]
    with pytest.raises(UserError, match=r"They differ in cv\.n_splits \(3, 5\)\. Run them again"):
        check_paired(runs)


def test_an_average_over_an_equal_setting_is_an_error():
    runs = [make_run(name, seed="1", **{"model.units": name}) for name in "ab"]
    with pytest.raises(UserError, match="expected a setting in which the runs differ"):
        average_runs(runs, "seed")


def test_duplicate_runs_are_dropped():
    runs = [
        replace(make_run(name), fingerprint=tuple(digests))
        for name, digests in zip("abcd", ("x1", "y1", "x1", "x2"), strict=True)
    ]
    assert sorted(run.name for run in drop_duplicates(runs)) == ["b", "c", "d"]
    unknown = [make_run("a"), make_run("b")]
    assert drop_duplicates(unknown) == unknown
    elsewhere = [replace(make_run(name, data=name), fingerprint=("x", "1")) for name in "ab"]
    assert drop_duplicates(elsewhere) == elsewhere  # an error later, not duplicates


def test_runs_of_several_sweeps_are_named_by_their_differences():
    common = {"cv.n_splits": "3", "tracking.run_name": "None", "tracking.parent_run_id": "None"}
    first = make_run("seed=1", **common, seed="1", **{"model.units": "20", "report.html": "True"})
    second = make_run("units=9", **common, seed="1", **{"model.units": "9"})
    runs = [replace(first, sweep="p"), replace(second, sweep="q")]
    assert shorten_names(runs) == ["units=20", "units=9"]
    assert shorten_names([replace(run, sweep="p") for run in runs]) == ["seed=1", "units=9"]
    user_named = {**common, "tracking.run_name": "mine"}
    named = [runs[0], replace(runs[1], settings={**runs[1].settings, **user_named})]
    assert shorten_names(named) == ["seed=1", "units=9"]


def test_the_metric_is_the_headline_or_the_requested_one():
    runs = [make_run("a"), make_run("b", metrics=("accuracy", "log_loss", "mine.distance"))]
    assert choose_metric(runs, None) == "accuracy"
    assert choose_metric(runs, "log_loss") == "log_loss"
    assert choose_metric(runs[1:] * 2, "mine.distance") == "distance"


@pytest.mark.parametrize(
    ("other", "requested", "message"),
    [
        ({}, "accurracy", "'accurracy', which is missing in 'a', 'b'. Did you mean 'accuracy'?"),
        ({"metrics": ("accuracy",)}, "log_loss", "'log_loss', which is missing in 'b'."),
        (
            {"metrics": ("log_loss", "accuracy")},
            None,
            "Expected runs with the same headline, the first of scoring.metrics. Received: "
            "accuracy, log_loss. Choose a metric with --metric. All runs have: accuracy, log_loss.",
        ),
        (
            {"metrics": ("mine.accuracy",)},
            "accuracy",
            "Expected runs with the same definition of accuracy. Received: accuracy in 'a'; "
            "mine.accuracy in 'b'.",
        ),
    ],
)
def test_a_metric_that_not_all_runs_have_is_an_error(other, requested, message):
    with pytest.raises(UserError) as error:
        choose_metric([make_run("a"), make_run("b", **other)], requested)
    assert message in str(error.value)


def test_zero_division_is_part_of_the_definition_of_a_metric():
    def runs(metric):
        return [
            make_run(name, metrics=(metric,), **{"scoring.zero_division": value})
            for name, value in (("a", "0.0"), ("b", "1.0"))
        ]

    assert choose_metric(runs("accuracy"), None) == "accuracy"
    with pytest.raises(UserError, match=r"f1_macro with zero_division=1\.0 in 'b'"):
        choose_metric(runs("f1_macro"), None)


def test_runs_that_differ_in_the_seed_alone_are_averaged():
    runs = [
        make_run(f"model.units={units}, seed={seed}", seed=str(seed), units=str(units))
        for units in (20, 40)
        for seed in (1, 2, 3)
    ]
    first, second = average_runs(runs, "seed")
    assert (first.name, second.name) == ("model.units=20", "model.units=40")
    assert first.run_ids == tuple(run.run_ids[0] for run in runs[:3])
    with pytest.raises(UserError, match="Received: 3 runs that differ only in seed"):
        average_runs(runs[:3], "seed")
    with pytest.raises(UserError, match=r"a setting of the runs\. Did you mean 'seed'\?"):
        average_runs(runs, "sed")


def test_names_are_short_but_unique():
    names = ("model.units=[20], training.optimizer_params={x: 0.5}", "my.own name")
    assert shorten_names([make_run(name) for name in names]) == [
        "units=[20], optimizer_params={x: 0.5}",
        "my.own name",
    ]
    shared = ("model.units=[20], cv.n_splits=5", "model.units=[40], cv.n_splits=5")
    assert shorten_names([make_run(name) for name in shared]) == ["units=[20]", "units=[40]"]
    within = ("x.y={a: 1, b: 2}", "x.y={a: 3, b: 2}")
    assert shorten_names([make_run(n) for n in within]) == ["y={a: 1, b: 2}", "y={a: 3, b: 2}"]
    clash = [make_run("model.seed=1"), make_run("data.seed=1")]
    assert shorten_names(clash) == ["model.seed=1", "data.seed=1"]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_best_of_too_many_runs_are_selected(metric):
    means = np.random.default_rng(0).permutation(250) / 250
    runs = [RunScores(str(m), ("x",), "D", "S", (metric,), {metric: float(m)}, {}) for m in means]
    expected = sorted(means, reverse=metric == "accuracy")[:MAX_RANKED]
    assert [run.means[metric] for run in select_best(runs, metric)] == expected


def test_the_direction_of_an_own_metric_is_read_from_the_settings():
    means = {"a": 0.3, "b": 0.1, "c": 0.2}
    lower = {"scoring.greater_is_better.rmse": "False"}
    runs = [
        RunScores(name, (name,), "D", "S", ("my.rmse",), {"rmse": mean}, lower)
        for name, mean in means.items()
    ]
    assert choose_metric(runs, None) == "rmse"
    assert [run.name for run in select_best(runs, "rmse")] == ["b", "c", "a"]
    greater = replace(runs[0], settings={"scoring.greater_is_better.rmse": "True"})
    with pytest.raises(UserError) as error:
        choose_metric([*runs[1:], greater], None)
    assert "same definition of rmse" in str(error.value)
    assert "my.rmse with greater_is_better=True in 'a'" in str(error.value)
