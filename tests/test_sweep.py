"""Sweeps: what they print and log, and that they survive failures, also of their processes."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from threading import Event, Thread

import pandas as pd
import pytest
from mlflow.entities import ViewType

from pipeline.commands import compare, promote
from pipeline.cv.splitters import make_splits
from pipeline.dataset.loading import load
from pipeline.evaluation.evaluator import Evaluator
from pipeline.tracking.heartbeat import is_process_running
from pipeline.tracking.store import open_store, store_at
from tests.command_runner import CommandRunner, artifact

SMALL = ("dataset.n_samples=200", "dataset.predict_rows=[]", "cv.n_repeats=1", "report=none")
QUICK = (*SMALL, "cv.n_splits=3", "training.epochs=3")
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
# Folds that take some tenths of a second, one after another, so that a process can be killed
# between two of them.
SLOW = (
    *(*SMALL, "cv.n_splits=4", "training.epochs=1000"),
    *("training.fits_per_program=1", "training.n_threads=1"),
)
SLOW_SKLEARN = (
    *(*SMALL, "cv.n_splits=4", "model=sklearn", "training.n_threads=1"),
    "model.estimator=sklearn.neural_network.MLPClassifier",
    "model.params={max_iter: 800, n_iter_no_change: 800, hidden_layer_sizes: [8]}",
)
UNITS = "model.params.hidden_layer_sizes"


def leaderboard(parent) -> pd.DataFrame:
    table = json.loads(artifact(parent, "leaderboard.json").read_text())
    return pd.DataFrame(table["data"], columns=table["columns"])


def finished_folds(store: CommandRunner) -> list[Path]:
    return sorted(store.folder.glob("checkpoints/*/*.npz"))


def wait_for_finished_folds(
    store: CommandRunner, process: "subprocess.Popen[str]", n_runs: int = 1
) -> str:
    """Wait until so many runs have finished a fold more; return the id of the last of them."""
    before = set(finished_folds(store))
    run_ids: dict[str, None] = {}
    while len(run_ids) < n_runs:
        assert process.poll() is None, process.communicate()
        new = [path for path in finished_folds(store) if path not in before]
        run_ids |= dict.fromkeys(path.parent.name for path in new)
        time.sleep(0.02)
    return list(run_ids)[-1]


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate(timeout=60)


@contextmanager
def interrupted_after_a_fold(store: CommandRunner) -> Iterator[None]:
    """Send this process Ctrl-C once a run has finished a fold more, unless the block ends first."""
    before, ended = finished_folds(store), Event()

    def interrupt() -> None:
        while not ended.wait(0.02):
            if set(finished_folds(store)) - set(before):
                os.kill(os.getpid(), signal.SIGINT)
                return

    thread = Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep in which half of the jobs fail: its store, and what it printed."""
    store = CommandRunner(tmp_path_factory.mktemp("sweep"))
    arguments = ("--multirun", "model.activation=rellu,relu", "seed=1,2", *QUICK)
    out, err = store.run_here(*arguments, code=1)
    return store, arguments, out, err


def test_a_sweep_is_a_parent_run_with_children_named_by_their_varied_settings(sweep):
    store, *_ = sweep
    jobs, parent = store.jobs_and_parent()
    assert parent.info.run_name == "sweep of model.activation, seed"
    assert parent.info.status == "FAILED"
    names = [
        f"model.activation={name}, seed={seed}" for name in ("rellu", "relu") for seed in (1, 2)
    ]
    assert [run.info.run_name for run in jobs] == names
    assert [run.info.status for run in jobs] == ["FAILED", "FAILED", "FINISHED", "FINISHED"]
    for run in jobs:
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    tags = jobs[3].data.tags
    assert (tags["varied.model.activation"], tags["varied.seed"]) == ("relu", "2")
    assert "varied.cv.n_splits" not in tags


def test_a_failed_job_logs_and_prints_its_reason(sweep):
    store, _, _, err = sweep
    jobs, _ = store.jobs_and_parent()
    assert jobs[0].data.tags["failure"].startswith("model.activation: unknown name 'rellu'.")
    assert "unknown name 'rellu'" in artifact(jobs[0], "traceback.txt").read_text()
    assert len(re.findall(r"^\[[12]/4\] model.activation: unknown name", err, re.MULTILINE)) == 2
    assert "Traceback" not in err


def test_the_leaderboard_is_printed_and_logged_to_the_parent(sweep):
    store, _, out, _ = sweep
    jobs, parent = store.jobs_and_parent()
    table = leaderboard(parent)
    best = max(jobs[2:], key=lambda run: run.data.metrics["accuracy_mean"])
    assert list(table.columns[:4]) == ["rank", "model.activation", "seed", "accuracy_mean"]
    assert list(table["accuracy_mean"][:2]) == sorted(table["accuracy_mean"][:2], reverse=True)
    assert table["run_id"][0] == best.info.run_id
    assert list(table["status"]) == ["FINISHED", "FINISHED", "FAILED", "FAILED"]
    assert table["reason"][3].startswith("model.activation: unknown name 'rellu'.")
    assert "4 jobs: 2 finished, 2 failed" in out
    assert "2 failed: model.activation=rellu, seed=1; model.activation=rellu, seed=2" in out
    tables = json.loads(parent.data.tags["mlflow.loggedArtifacts"])
    assert {"path": "leaderboard.json", "type": "table"} in tables
    assert artifact(parent, "figures/leaderboard.png").read_bytes().startswith(b"\x89PNG")
    mean = table["accuracy_mean"][:2].mean()  # the jobs differ in their seeds alone
    assert parent.data.metrics["best/accuracy_mean"] == pytest.approx(mean)
    assert (parent.data.metrics["n_finished"], parent.data.metrics["n_failed"]) == (2, 2)


def test_the_data_are_described_once_and_each_job_in_two_lines(sweep):
    _, _, out, _ = sweep
    assert out.count("synthetic: 200 rows") == 1
    assert not re.search(r"^>0", out, re.MULTILINE)
    assert "[3/4] model.activation=relu, seed=1\n[3/4] Accuracy: 0." in out
    assert "HYDRA" not in out


def test_the_next_commands_can_be_copied(sweep):
    store, _, out, _ = sweep
    _, parent = store.jobs_and_parent()
    compare = f"-m pipeline compare {parent.info.run_id} tracking.uri={store.uri}\n"
    assert re.search(rf"^Compare   \S+ {re.escape(compare)}", out, re.MULTILINE)
    assert re.search(r"^Promote   \S+ -m pipeline promote [0-9a-f]{32} ", out, re.MULTILINE)
    resume = r"^Continue  \S+ -m pipeline --multirun model.activation=rellu,relu .* resume=true$"
    assert re.search(resume, out, re.MULTILINE)
    page = f"-m pipeline ui {parent.info.run_id} tracking.uri={store.uri}\n"
    assert re.search(rf"^Open      \S+ {re.escape(page)}", out, re.MULTILINE)


def test_promoting_a_sweep_promotes_its_best_run(sweep):
    store, *_ = sweep
    _, parent = store.jobs_and_parent()
    # The second time, by the beginning of its id, changes nothing.
    for name in (parent.info.run_id, parent.info.run_id[:8]):
        assert promote.main([name, f"tracking.uri={store.uri}"]) == 0
    (version,) = store.client.search_model_versions()
    assert (version.name, version.run_id) == ("synthetic", leaderboard(parent)["run_id"][0])
    champion = store.client.get_model_version_by_alias("synthetic", "champion")
    assert champion.version == version.version
    best = store.client.get_run(version.run_id)
    mean, std, low, high = (
        f"{best.data.metrics[f'accuracy_{name}']:.3f}"
        for name in ("mean", "std", "ci_low", "ci_high")
    )
    assert version.description.splitlines() == [
        "The first champion of this name.",
        f"Accuracy: {mean} ({std}), 95% interval {low} to {high}",
        *version.description.splitlines()[2:-1],  # other metrics
        f"Run {version.run_id}; data {best.data.tags['data_digest']}; "
        "Final model: trained on all 200 rows (training.final_fit=all).",
    ]


def test_only_a_finished_run_of_an_existing_store_is_promoted(sweep, capsys):
    store, *_ = sweep
    jobs, _ = store.jobs_and_parent()
    missing = store.folder / "none.db"
    for name, file, message in (
        (jobs[0].info.run_id[:12], "mlflow.db", "FAILED, with 0 models: model.activation: unknown"),
        ("nothing", "mlflow.db", "Expected a run or a sweep of the store. Received: 'nothing'"),
        ("nothing", missing.name, "which does not exist"),
    ):
        assert promote.main([name, f"tracking.uri=sqlite:///{store.folder / file}"]) == 2
        assert message in capsys.readouterr().err.replace("\n", " ")
    assert not missing.exists()


def test_a_repeated_sweep_with_resume_reuses_finished_jobs(sweep):
    store, arguments, *_ = sweep
    before, parent = store.jobs_and_parent()
    out, _ = store.run_here(*arguments, "resume=true", code=1)
    after, same_parent = store.jobs_and_parent()
    assert same_parent.info.run_id == parent.info.run_id
    assert f"Resuming the sweep of 4 jobs, run {parent.info.run_id}" in out
    assert [run.info.run_id for run in after[2:]] == [run.info.run_id for run in before[2:]]
    assert not {run.info.run_id for run in after[:2]} & {run.info.run_id for run in before[:2]}
    assert len(after) == 4
    assert f"reused finished run {after[3].info.run_id}" in out


def evaluate(config):
    """Return the mean scores of a configuration, without a command."""
    dataset = load(config.dataset)
    evaluator = Evaluator(config, dataset, make_splits(config.cv, dataset))
    list(evaluator.folds(lambda n: None))
    return {name: summary.mean for name, summary in evaluator.evaluation().summary.items()}


def test_a_sweep_that_dies_three_times_ends_like_an_undisturbed_one(tmp_path, make_config):
    store = CommandRunner(tmp_path)
    arguments = ("--multirun", *SLOW_SKLEARN, f"{UNITS}=[8],[4]", "seed=range(2)")
    process = store.start(*arguments, *JOBLIB)
    wait_for_finished_folds(store, process)
    kill(process)
    wait_until_workers_have_ended(store)
    assert finished_folds(store)

    process = store.start(*arguments, *JOBLIB, "resume=true")
    run_id = wait_for_finished_folds(store, process, 3)
    worker = int(store.client.get_run(run_id).data.tags["process"].split()[1])
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 1
    assert "A worker process managed by the executor was unexpectedly terminated" in err
    assert "Continue  " in out
    _, parent = store.jobs_and_parent()
    assert parent.info.status == "FAILED"

    with interrupted_after_a_fold(store):
        out, err = store.run_here(*arguments, "resume=true", code=130)
    assert "Interrupted." in err
    assert re.search(r"[1-4] interrupted: ", out)
    assert "Continue  " in out
    _, parent = store.jobs_and_parent()
    assert parent.info.status == "KILLED"

    store.run_here(*arguments, "resume=true")
    jobs, parent = store.jobs_and_parent()
    assert {run.info.status for run in (*jobs, parent)} == {"FINISHED"}
    assert len(jobs) == 4
    table = leaderboard(parent).set_index([UNITS, "seed"])
    assert len(table) == 4
    for units, seed in product(("[8]", "[4]"), ("0", "1")):
        means = evaluate(make_config(*SLOW_SKLEARN, f"{UNITS}={units}", f"seed={seed}"))
        assert {name: table.loc[(units, seed), f"{name}_mean"] for name in means} == means
    for run in jobs:
        history = store.client.get_metric_history(run.info.run_id, "fold/accuracy")
        assert sorted(metric.step for metric in history) == list(range(4))
        models = store.client.search_logged_models(
            [run.info.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'"
        )
        assert len(models) == 1
    assert finished_folds(store) == []


def wait_until_workers_have_ended(store: CommandRunner) -> None:
    jobs, _ = store.jobs_and_parent()
    for _ in range(400):
        if not any(is_process_running(run.data.tags["process"]) for run in jobs):
            return
        time.sleep(0.05)
    raise AssertionError("workers outlive the process that launched them")


def test_a_killed_run_is_resumed_and_a_finished_one_is_reused(tmp_path, make_config):
    store = CommandRunner(tmp_path)
    arguments = (*SLOW, "resume=true")
    process = store.start(*arguments)
    run_id = wait_for_finished_folds(store, process, 1)
    kill(process)
    out, _ = store.run_here(*arguments)
    assert re.search(rf"Continuing run {run_id}: [1-3] of 4 folds are finished\.", out)
    (finished,) = store.runs()
    assert (finished.info.run_id, finished.info.status) == (run_id, "FINISHED")
    for name, mean in evaluate(make_config(*SLOW)).items():
        assert finished.data.metrics[f"{name}_mean"] == mean
    out, _ = store.run_here(*arguments)
    assert f"Reusing finished run {run_id} (same settings, data and code):" in out
    assert re.search(r"^Accuracy: 0\.\d{3} \(0\.\d{3}\)$", out, re.MULTILINE)
    assert len(store.runs()) == 1


def rmse(y_true, y_score, y_pred):
    """Return the root mean squared error of the probabilities."""
    return float(((y_score - y_true) ** 2).mean() ** 0.5)


def test_the_lowest_value_of_an_own_error_ranks_first(tmp_path, monkeypatch, capsys):
    store = CommandRunner(tmp_path)
    jobs = ("--multirun", "model=dummy,logistic", *SMALL, "cv.n_splits=3")
    metrics = "scoring.metrics=[tests.test_sweep.rmse,brier_score]"
    store.run_here(*jobs, metrics, "scoring.greater_is_better={rmse: false}")
    (dummy, logistic), parent = store.jobs_and_parent()
    assert logistic.data.metrics["rmse_mean"] < dummy.data.metrics["rmse_mean"]
    assert leaderboard(parent)["run_id"].tolist() == [logistic.info.run_id, dummy.info.run_id]
    capsys.readouterr()
    uri = f"tracking.uri={store.uri}"
    monkeypatch.setattr(compare, "mlruns", lambda: tmp_path)
    assert compare.main([parent.info.run_id, uri]) == 0
    out = capsys.readouterr().out
    assert "Rmse of 3 folds, lower is better" in out
    assert re.search(r"^1 +model=logistic ", out, re.MULTILINE)
    assert promote.main([parent.info.run_id, uri]) == 0
    assert f"(run {logistic.info.run_id})" in capsys.readouterr().out


def test_an_invalid_command_leaves_no_sweep(tmp_path):
    store = CommandRunner(tmp_path)
    _, err = store.run_here("--multirun", "model=mlp,mpl", code=2)
    assert "model: no such option 'mpl'. Did you mean 'mlp'?" in err
    assert store.runs() == []
    (deleted,) = store.client.search_runs(["1"], run_view_type=ViewType.DELETED_ONLY)
    assert deleted.info.status == "FAILED"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model.n_members=2", "seed=1,2"), "use model.ensemble_size"),
        (("search_space=mlp_small", "training=adam"), "use training=default"),
        (("experiment=nothing", "seed=1,2"), "no such option 'nothing'"),
        (("model.dropout=interval(0,0.5)",), "Search it: hydra/sweeper=optuna"),
    ],
)
def test_a_command_that_no_job_can_use_is_refused_before_the_sweep(tmp_path, arguments, message):
    store = CommandRunner(tmp_path)
    out, err = store.run_here("--multirun", *arguments, code=2)
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert store.client.get_experiment_by_name("manyfold") is None


def test_no_finished_job_is_lost_on_a_full_disk(tmp_path):
    store = CommandRunner(tmp_path)
    arguments = ("--multirun", "model=dummy", "seed=range(6)", *SMALL, "cv.n_splits=2")
    open_store(store_at(store.uri), "manyfold")
    max_file_size = (store.folder / "mlflow.db").stat().st_size + 2**17
    process = store.start(*arguments, max_file_size=max_file_size)
    out, err = process.communicate()
    assert process.returncode == 1, out + err
    jobs, _ = store.jobs_and_parent()
    finished = {run.info.run_id for run in jobs if run.info.status == "FINISHED"}
    assert 0 < len(finished) < 6
    out, _ = store.run_here(*arguments, "resume=true")
    assert out.count("reused finished run") == len(finished)
    jobs, parent = store.jobs_and_parent()
    assert {run.info.status for run in (*jobs, parent)} == {"FINISHED"}
    assert len(jobs) == len(leaderboard(parent)) == 6
    assert finished <= {run.info.run_id for run in jobs}
