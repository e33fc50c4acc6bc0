"""Comparison over data sets: against SciPy, a table worked by hand, and a simulated posterior."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pipeline.commands import compare as command
from pipeline.comparison.across_datasets import compare_across, signed_rank_posterior
from pipeline.comparison.run_scores import RunScores
from pipeline.console.across_tables import to_latex, to_markdown
from pipeline.errors import UserError
from pipeline.report.critical_difference import draw_critical_difference
from pipeline.tracking import RunReader, store_at
from pipeline.tracking.final_models import find_run
from tests.command_runner import CommandRunner

MODELS = ("mlp", "knn", "svm")
SCORES = np.random.default_rng(0).normal(0.7, 0.02, (3, 8)) + np.array([[0.05], [0.0], [0.04]])


def make_runs(scores, names=MODELS, seeds=1) -> list[RunScores]:
    return [
        RunScores(
            name=name,
            run_ids=(f"{i}{j}{seed}",),
            data_digest=f"{j} digest",
            split_digest=f"folds {j}",
            metrics=("accuracy",),
            means={"accuracy": float(scores[i, j]) + seed - (seeds - 1) / 2},
            settings={
                "model.kind": name,
                "training.epochs": str(10 + j),  # belongs to the data set
                "dataset.path": f"/data/table_{j}.csv",
                "seed": str(seed),
            },
        )
        for i, name in enumerate(names)
        for j in range(scores.shape[1])
        for seed in range(seeds)
    ]


def compare(scores, *, minimize=False, rope=0.01, **options):
    runs = make_runs(scores, **options)
    return compare_across(runs, "accuracy", lower_is_better=minimize, alpha=0.05, rope=rope)


@pytest.mark.parametrize("minimize", [False, True])
def test_ranks_and_tests_are_scipys(minimize):
    across = compare(SCORES, minimize=minimize)
    sign = 1 if minimize else -1
    ranks = stats.rankdata(sign * SCORES, axis=0).mean(axis=1)
    order = np.argsort(ranks)
    assert across.names == tuple(f"kind={MODELS[i]}" for i in order)
    assert across.ranks == pytest.approx(ranks[order])
    assert across.datasets == tuple(f"table_{j}" for j in range(8))
    assert across.p_friedman == pytest.approx(stats.friedmanchisquare(*SCORES).pvalue)
    advantages = [
        sign * (SCORES[order[it.second]] - SCORES[order[it.first]]) for it in across.pairs
    ]
    p = [stats.wilcoxon(advantage).pvalue for advantage in advantages]
    smallest = int(np.argmin(p))
    assert across.pairs[smallest].p_wilcoxon == pytest.approx(min(1, 3 * p[smallest]))
    assert [it.n_wins for it in across.pairs] == [(it > 0).sum() for it in advantages]


def test_the_critical_difference_is_that_of_demsars_table():
    """q(0.05) is 2.343 for three configurations: sqrt(3 * 4 / (6 * 8)) * 2.343."""
    assert compare(SCORES).critical_difference == pytest.approx(2.343 * 0.5, abs=1e-3)


def test_seeds_are_averaged():
    assert compare(SCORES, seeds=3).scores == pytest.approx(compare(SCORES).scores)


def test_missing_cells_are_named_and_never_imputed():
    scores = SCORES.copy()
    scores[1, 4] = np.nan
    across = compare(scores)
    assert across.missing() == ["kind=knn on table_4"]
    without = compare(np.delete(SCORES, 4, axis=1))
    assert across.ranks == pytest.approx(without.ranks)
    assert across.p_friedman == pytest.approx(without.p_friedman)


@pytest.mark.parametrize("scores", [SCORES[:1], SCORES[:, :1]])
def test_too_few_are_refused(scores):
    with pytest.raises(UserError, match="--across: expected at least two configurations"):
        compare(scores, names=MODELS[: len(scores)])


def test_the_posterior_follows_the_data():
    better, equivalent, worse = signed_rank_posterior(np.full(12, 0.05), rope=0.01)
    assert better > 0.99
    assert better + equivalent + worse == pytest.approx(1)
    assert signed_rank_posterior(np.full(12, 0.001), rope=0.01)[1] > 0.99
    assert signed_rank_posterior(np.full(12, -0.05), rope=0.01)[2] > 0.99
    mixed = np.array([0.05, -0.05] * 6)
    assert abs(signed_rank_posterior(mixed, 0.0)[0] - signed_rank_posterior(-mixed, 0.0)[0]) < 0.05


def test_tables_for_papers_and_the_figure():
    across = compare(SCORES[:, :2])
    best = f"{across.scores[:, 0].max():.3f}"
    assert f"**{best}**" in to_markdown(across)
    assert rf"\textbf{{{best}}}" in to_latex(across)
    assert r"table\_0" in to_latex(across)
    (axes,) = draw_critical_difference(across).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [f"{i + 1}  {name}" for i, name in enumerate(across.names)]


@pytest.mark.parametrize("shared", [False, True])
def test_configurations_have_the_names_that_were_typed(shared):
    """Of a sweep, without the settings of the data; unless two configurations shared a name."""
    runs = [
        replace(run, name=f"dataset.path={run.data_digest}, model={run.name}, seed=1")
        for run in make_runs(SCORES)
    ]
    if shared:
        runs = [replace(run, name=run.name.replace("knn", "mlp")) for run in runs]
    across = compare_across(runs, "accuracy", lower_is_better=False, alpha=0.05, rope=0.01)
    assert {*across.names} == {f"{'kind' if shared else 'model'}={name}" for name in MODELS}


def test_data_sets_of_the_same_name_stay_apart():
    runs = [
        replace(run, settings=run.settings | {"dataset.path": "/x/same.csv"})
        for run in make_runs(SCORES[:, :2])
    ]
    across = compare_across(runs, "accuracy", lower_is_better=False, alpha=0.05, rope=0.0)
    assert across.datasets == ("same 0 dige", "same 1 dige")


def test_the_command_compares_a_sweep_over_data_sets(tmp_path, capsys):
    store = CommandRunner(tmp_path)
    store.run_here(
        *("--multirun", "dataset.random_state=1,2,3", "model=knn,dummy", "dataset.n_samples=60"),
        *("cv.n_splits=2", "cv.n_repeats=1", "report=none", "dataset.predict_rows=[]"),
    )
    _, parent = store.jobs_and_parent()
    figure, numbers = tmp_path / "figure.png", tmp_path / "numbers.json"
    arguments = ["--across", "--markdown", "--figure", str(figure), "--json", str(numbers)]
    capsys.readouterr()
    assert command.main([parent.info.run_id, f"tracking.uri={store.uri}", *arguments]) == 0
    out = capsys.readouterr().out
    assert "Accuracy on 3 data sets, higher is better" in out
    assert "| configuration |" in out
    assert len(json.loads(numbers.read_text())["configurations"]) == 2
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_suite_sweeps_the_files_of_a_folder_and_says_which_cells_are_missing(tmp_path, capsys):
    rng, folder = np.random.default_rng(0), tmp_path / "my files"
    folder.mkdir()
    for number in range(3):
        rows = np.column_stack([rng.normal(size=(40, 3)), rng.integers(0, 2, (40, 2))])
        np.savetxt(
            folder / f"{number}.csv", rows, "%g", ",", header="a,b,c,tag_x,tag_y", comments=""
        )
    (folder / "broken.csv").write_text("a,b\n1,2\n")
    store = CommandRunner(tmp_path)
    out, _ = store.run_here(
        *("experiment=suite", "dataset=table", f"dataset.path={folder}/*.csv", "model=knn,dummy"),
        *("dataset.labels=[tag_*]", "cv.n_splits=2"),
        code=1,
    )
    text = " ".join(out.split())
    assert "8 jobs: 6 finished, 2 failed" in text
    assert "expected columns that exist in dataset.labels" in text
    assert "Each of 3 data sets is ranked by itself" in text
    assert "compare SWEEP --across" in text
    assert "expected of the chosen one" not in text
    assert "Promote" not in text
    _, parent = store.jobs_and_parent()
    with pytest.raises(UserError, match="or which has several data sets"):
        find_run(RunReader(store_at(store.uri)), parent.info.run_id)
    capsys.readouterr()
    figure = ["--figure", str(tmp_path / "figure.png")]
    assert command.main([parent.info.run_id, f"tracking.uri={store.uri}", "--across", *figure]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Skipped unfinished runs: 2 FAILED (model=knn, dataset.path=" in out
    assert "Accuracy on 3 data sets" in out
    assert "model=knn" in out
