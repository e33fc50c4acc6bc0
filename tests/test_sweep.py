"""Sweeps as their users run them: what they show and leave, and that nothing finished is lost."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from pipeline.commands import promote
from pipeline.cv.splitters import make_splits
from pipeline.dataset.loading import load
from pipeline.evaluation.evaluator import Evaluator

SMALL = ("dataset.n_samples=200", "dataset.predict_rows=[]", "cv.n_repeats=1", "report=none")
QUICK = (*SMALL, "cv.n_splits=3", "training.epochs=3")
LONGER = (  # folds that take some tenths of a second each, one after another
    *(*SMALL, "cv.n_splits=4", "training.epochs=2000"),
    *("training.fits_per_program=1", "training.n_threads=1"),
)
VARIED = ("model.hidden_units=[8],[4]", "seed=range(2)")
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


class Store:
    """A store of its own, and the program that writes to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = MlflowClient(f"sqlite:///{folder}/mlflow.db")

    def start(self, *arguments: str, limit: int | None = None) -> "subprocess.Popen[str]":
        """Start the program; no file of it grows beyond that many bytes, as on a full disk."""

        def prepare():
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        places = [f"tracking.uri=sqlite:///{self.folder}/mlflow.db"]
        places += [f"hydra.run.dir={self.folder}/hydra", f"hydra.sweep.dir={self.folder}/sweep"]
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments, *places],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=prepare,
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        process = self.start(*arguments)
        out, err = process.communicate()
        assert process.returncode == code, out + err
        return out, err

    def runs(self):
        """Return the runs that are listed, the jobs by their numbers, and the parent or None."""
        experiment = self.client.get_experiment_by_name("manyfold")
        runs = self.client.search_runs([experiment.experiment_id])
        parents = [run for run in runs if "is_sweep" in run.data.tags]
        others = [run for run in runs if run not in parents]
        assert len(parents) <= 1
        listed = [run for run in others if "superseded_by" not in run.data.tags]
        listed.sort(key=lambda run: int(run.data.tags.get("sweep_job", 0)))
        return listed, parents[0] if parents else None

    def finished_folds(self) -> list[Path]:
        return sorted(self.folder.glob("checkpoints/*/*.npz"))

    def wait_for(self, process: "subprocess.Popen[str]", n_runs: int) -> str:
        """Wait until that many runs have kept a finished fold; return the last of them."""
        seen: dict[str, None] = {}
        while len(seen) < n_runs:
            assert process.poll() is None, process.communicate()
            seen |= dict.fromkeys(path.parent.name for path in self.finished_folds())
            time.sleep(0.02)
        return list(seen)[-1]


def artifact(run, name: str) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://")) / name


def leaderboard(parent) -> pd.DataFrame:
    table = json.loads(artifact(parent, "leaderboard.json").read_text())
    return pd.DataFrame(table["data"], columns=table["columns"])


def kill(process, sent=signal.SIGKILL):
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep in which half of the jobs are refused: its store and what it printed."""
    store = Store(tmp_path_factory.mktemp("swept"))
    out, err = store.run("--multirun", "model.activation=rellu,relu", "seed=1,2", *QUICK, code=1)
    return store, out, err


def test_a_sweep_is_one_parent_run_with_children_named_by_what_varied(swept):
    store, *_ = swept
    jobs, parent = store.runs()
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


def test_a_refused_job_leaves_its_reason(swept):
    store, _, err = swept
    jobs, _ = store.runs()
    assert jobs[0].data.tags["failure"].startswith("model.activation: unknown name 'rellu'.")
    assert "unknown name 'rellu'" in artifact(jobs[0], "traceback.txt").read_text()
    assert len(re.findall(r"^\[[12]/4\] model.activation: unknown name", err, re.MULTILINE)) == 2
    assert "Traceback" not in err


def test_the_leaderboard_is_on_screen_and_on_the_parent(swept):
    store, out, _ = swept
    jobs, parent = store.runs()
    table = leaderboard(parent)
    best = max(jobs[2:], key=lambda run: run.data.metrics["accuracy_mean"])
    assert list(table.columns[:4]) == ["rank", "model.activation", "seed", "accuracy_mean"]
    assert list(table["accuracy_mean"][:2]) == sorted(table["accuracy_mean"][:2], reverse=True)
    assert table["run_id"][0] == best.info.run_id
    assert list(table["status"]) == ["FINISHED", "FINISHED", "FAILED", "FAILED"]
    assert table["reason"][3].startswith("model.activation: unknown name 'rellu'.")
    assert "4 jobs: 2 finished, 2 failed" in out
    assert "2 failed: model.activation=rellu, seed=1; model.activation=rellu, seed=2" in out
    shown = json.loads(parent.data.tags["mlflow.loggedArtifacts"])
    assert shown == [{"path": "leaderboard.json", "type": "table"}]
    assert artifact(parent, "figures/leaderboard.png").read_bytes().startswith(b"\x89PNG")
    assert parent.data.metrics["best/accuracy_mean"] == best.data.metrics["accuracy_mean"]
    assert (parent.data.metrics["n_finished"], parent.data.metrics["n_failed"]) == (2, 2)


def test_a_sweep_describes_its_data_once_and_each_job_in_two_lines(swept):
    _, out, _ = swept
    assert out.count("synthetic: 200 rows") == 1
    assert not re.search(r"^>0", out, re.MULTILINE)
    assert "[3/4] model.activation=relu, seed=1\n[3/4] Accuracy: 0." in out
    assert "HYDRA" not in out


def test_the_next_commands_are_there_to_be_copied(swept):
    store, out, _ = swept
    _, parent = store.runs()
    uri = f"sqlite:///{store.folder}/mlflow.db"
    compare = f"-m pipeline compare {parent.info.run_id} tracking.uri={uri}\n"
    assert re.search(rf"^Compare   \S+ {re.escape(compare)}", out, re.MULTILINE)
    assert re.search(r"^Promote   \S+ -m pipeline promote [0-9a-f]{32} ", out, re.MULTILINE)
    continued = r"^Continue  \S+ -m pipeline --multirun model.activation=rellu,relu .* resume=true$"
    assert re.search(continued, out, re.MULTILINE)


def test_the_best_of_a_sweep_is_promoted(swept):
    store, *_ = swept
    _, parent = store.runs()
    uri = f"sqlite:///{store.folder}/mlflow.db"
    command = [sys.executable, "-m", "pipeline", "promote", f"tracking.uri={uri}"]
    for asked in (parent.info.run_id, parent.info.run_id[:8]):  # the second time changes nothing
        subprocess.run([*command, asked], check=True, capture_output=True)
    (version,) = store.client.search_model_versions()
    assert (version.name, version.run_id) == ("synthetic", leaderboard(parent)["run_id"][0])
    champion = store.client.get_model_version_by_alias("synthetic", "champion")
    assert champion.version == version.version


def test_only_a_finished_run_of_a_store_is_promoted(swept, monkeypatch, capsys):
    store, *_ = swept
    jobs, _ = store.runs()
    missing = store.folder / "none.db"
    for asked, file, said in (
        (jobs[0].info.run_id[:12], "mlflow.db", "FAILED, with 0 models: model.activation: unknown"),
        ("nothing", "mlflow.db", "Expected a run or a sweep of the store. Received: 'nothing'"),
        ("nothing", missing.name, "which does not exist"),
    ):
        uri = f"sqlite:///{store.folder / file}"
        assert promote.main([asked, f"tracking.uri={uri}"]) == 2
        assert said in capsys.readouterr().err.replace("\n", " ")
    assert not missing.exists()


def test_a_sweep_that_is_repeated_reuses_what_is_finished_if_told_to(swept):
    store, *_ = swept
    before, parent = store.runs()
    sweep = ("--multirun", "model.activation=rellu,relu", "seed=1,2", *QUICK, "resume=true")
    out, _ = store.run(*sweep, code=1)
    after, same_parent = store.runs()
    assert same_parent.info.run_id == parent.info.run_id
    assert f"Resuming the sweep of 4 jobs, run {parent.info.run_id}" in out
    assert [run.info.run_id for run in after[2:]] == [run.info.run_id for run in before[2:]]
    assert not {run.info.run_id for run in after[:2]} & {run.info.run_id for run in before[:2]}
    assert len(after) == 4
    assert f"reused finished run {after[3].info.run_id}" in out


@pytest.fixture(scope="module")
def expected(make_config):
    """The mean of each job of the longer sweep, found without one."""

    def mean(hidden_units, seed):
        config = make_config(*LONGER, f"model.hidden_units={hidden_units}", f"seed={seed}")
        dataset = load(config.dataset)
        evaluator = Evaluator(config, dataset, make_splits(config.cv, dataset))
        list(evaluator.folds(lambda n: None))
        return {name: it.mean for name, it in evaluator.evaluation().summary.items()}

    return {(units, seed): mean(units, seed) for units in ("[8]", "[4]") for seed in ("0", "1")}


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["basic", "joblib"])
def test_a_sweep_that_is_killed_twice_ends_as_if_it_had_not_been(tmp_path, launcher, expected):
    store = Store(tmp_path)
    sweep = ("--multirun", *VARIED, *LONGER, *launcher)
    process = store.start(*sweep)
    store.wait_for(process, 1)
    kill(process)
    if launcher:
        _wait_until_workers_are_gone(store)
    assert store.finished_folds()

    process = store.start(*sweep, "resume=true")
    last = store.wait_for(process, 3)
    if launcher:  # the second time a worker is lost
        worker = int(store.client.get_run(last).data.tags["process"].split()[1])
        os.kill(worker, signal.SIGKILL)
        out, err = process.communicate()
        assert "A worker process managed by the executor was unexpectedly terminated" in err
        assert process.returncode == 1
    else:
        code, out, err = kill(process, signal.SIGINT)
        assert code == 130
        assert "1 interrupted: " in out
        assert "Interrupted." in err
    _, parent = store.runs()
    assert parent.info.status == ("FAILED" if launcher else "KILLED")
    assert "Continue  " in out

    store.run(*sweep, "resume=true")
    jobs, parent = store.runs()
    assert {run.info.status for run in (*jobs, parent)} == {"FINISHED"}
    table = leaderboard(parent).set_index(["model.hidden_units", "seed"])
    assert set(table.index) == set(expected)
    assert len(table) == 4
    for job, means in expected.items():
        assert {name: table.loc[job, f"{name}_mean"] for name in means} == means
    for run in jobs:
        history = store.client.get_metric_history(run.info.run_id, "fold/accuracy")
        assert [it.step for it in sorted(history, key=lambda it: it.step)] == list(range(4))
        mine = f"source_run_id = '{run.info.run_id}'"
        experiment_ids = [run.info.experiment_id]
        assert len(store.client.search_logged_models(experiment_ids, filter_string=mine)) == 1
    assert store.finished_folds() == []


def _wait_until_workers_are_gone(store: Store) -> None:
    from pipeline.tracking.heartbeat import is_process_running

    jobs, _ = store.runs()
    for _ in range(400):
        if not any(is_process_running(run.data.tags["process"]) for run in jobs):
            return
        time.sleep(0.05)
    raise AssertionError("workers outlive the process that launched them")


def test_a_single_run_that_is_killed_goes_on_and_then_is_reused(tmp_path, expected):
    store = Store(tmp_path)
    run = (*LONGER, "model.hidden_units=[8]", "seed=0")
    process = store.start(*run)
    run_id = store.wait_for(process, 1)
    kill(process)
    out, _ = store.run(*run, "resume=true")
    assert re.search(rf"Continuing run {run_id}: [1-3] of 4 folds are finished\.", out)
    (finished,), _ = store.runs()
    assert (finished.info.run_id, finished.info.status) == (run_id, "FINISHED")
    for name, mean in expected["[8]", "0"].items():
        assert finished.data.metrics[f"{name}_mean"] == mean
    out, _ = store.run(*run, "resume=true")
    assert f"Reusing finished run {run_id} (same settings, data and code):" in out
    assert re.search(r"^Accuracy: 0\.\d{3} \(0\.\d{3}\)$", out, re.MULTILINE)
    assert len(store.runs()[0]) == 1


def test_a_refused_command_leaves_no_sweep(tmp_path):
    store = Store(tmp_path)
    _, err = store.run("--multirun", "model=mlp,mpl", code=2)
    assert "model: no such option 'mpl'. Did you mean 'mlp'?" in err
    assert store.runs() == ([], None)
    (deleted,) = store.client.search_runs(["1"], run_view_type=ViewType.DELETED_ONLY)
    assert deleted.info.status == "FAILED"


def test_a_full_disk_loses_nothing_finished(tmp_path):
    store = Store(tmp_path)
    sweep = ("--multirun", "model=dummy", "seed=range(6)", *SMALL, "cv.n_splits=5")
    store.run("model=dummy", "tracking.experiment_name=before", *SMALL)  # makes the store
    full = (store.folder / "mlflow.db").stat().st_size + 2**17
    process = store.start(*sweep, limit=full)
    out, err = process.communicate()
    assert process.returncode == 1, out + err
    jobs, _ = store.runs()
    finished = [run.info.run_id for run in jobs if run.info.status == "FINISHED"]
    assert 0 < len(finished) < 6
    out, _ = store.run(*sweep, "resume=true")
    assert out.count("reused finished run") == len(finished)
    jobs, parent = store.runs()
    assert {run.info.status for run in (*jobs, parent)} == {"FINISHED"}
    assert len(jobs) == len(leaderboard(parent)) == 6
    assert set(finished) <= {run.info.run_id for run in jobs}
