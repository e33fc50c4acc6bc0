"""Ray and Slurm sweeps against an MLflow server; `make test-scale` installs what they need."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import slurm_stand_in
from servers import (
    JOIN_RAY,
    free_port,
    mlflow_server,
    postgres,
    postgres_programs,
    ray_cluster,
)

from pipeline.sweeps.plugins import server_command

pytestmark = pytest.mark.scale

ROOT = Path(__file__).parents[1]
METRICS = """
import os
import signal
import time
from pathlib import Path

IS_FIXED = Path(__file__).with_name("fixed").exists()
calls = 0


def raises_score(y_true, y_score, y_pred):
    if not IS_FIXED:
        raise ValueError("this metric is broken")
    return 0.0


def kills_score(y_true, y_score, y_pred):
    global calls
    calls += 1
    if calls == 3 and not IS_FIXED and not os.environ.get("SLURM_RESTART_COUNT") == "1":
        time.sleep(5)  # for the other thread, which writes checkpoints
        os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


def cores_score(y_true, y_score, y_pred):
    return int(os.environ["MANYFOLD_CORES"]) + int(os.environ["OMP_NUM_THREADS"]) / 10
"""
SMALL = [  # folds that end in pairs: the third call of a metric is in the second pair
    "cv.n_splits=4", "cv.n_repeats=1", "training.epochs=2", "training.fits_per_program=2",
    "training.n_threads=1",
]  # fmt: skip


def skip_without(*modules: str) -> None:
    missing = [module for module in modules if find_spec(module) is None]
    if postgres_programs() is None:
        missing.append("PostgreSQL")
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: `make test-scale` installs what this needs")


@contextmanager
def short_folder(prefix: str):
    """Make a folder with a short path, as Ray's sockets need, that every user may enter."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """URI of an MLflow server on PostgreSQL, started by the command that `manyfold` prints."""
    skip_without("psycopg", "flask_wtf")
    artifacts = tmp_path_factory.mktemp("artifacts")
    with short_folder("pg") as folder, postgres(folder, ["mlflow", "mlflow_auth"]) as database:
        port = free_port()
        command = server_command("127.0.0.1", port)
        for documented, local in {
            "0.0.0.0": "127.0.0.1", "5432": str(database), "/srv/mlflow/artifacts": str(artifacts)
        }.items():  # fmt: skip
            assert documented in command
            command = command.replace(documented, local)
        credentials = mlflow_server(
            tmp_path_factory.mktemp("mlflow"), f"{command} --workers 1", port, database
        )
        with credentials as variables, pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            yield f"http://127.0.0.1:{port}"


class Sweeps:
    """Runs sweeps in a folder against an MLflow server."""

    def __init__(self, folder: Path, uri: str, experiment: str, variables: dict[str, str]) -> None:
        from mlflow import MlflowClient

        self.folder, self.variables = folder, variables
        self.client = MlflowClient(uri)
        self.experiment = experiment
        self.fixed = [
            f"tracking.uri={uri}", f"tracking.experiment_name={experiment}",
            f"tracking.checkpoint_dir={folder}/checkpoints", f"hydra.sweep.dir={folder}/sweep",
        ]  # fmt: skip
        (folder / "metrics.py").write_text(METRICS)

    def run(self, *overrides: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipeline", "--multirun", *self.fixed, *SMALL, *overrides],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | self.variables,
            capture_output=True,
            text=True,
            timeout=500,
        )

    def runs(self):
        """Return all runs, parents included, the latest first."""
        found = self.client.get_experiment_by_name(self.experiment)
        return list(self.client.search_runs([found.experiment_id])) if found else []

    def board(self, tmp_path: Path) -> tuple[str, dict[str, dict[str, object]]]:
        """Return the id of the latest sweep, and its leaderboard's rows by their metrics."""
        parent = next(run for run in self.runs() if "is_sweep" in run.data.tags)
        path = self.client.download_artifacts(parent.info.run_id, "leaderboard.json", str(tmp_path))
        table = json.loads(Path(path).read_text())
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
        return parent.info.run_id, {str(row["scoring.metrics"]): row for row in rows}

    def folds(self, run_id: str) -> list[tuple[int, float]]:
        """Return step and score of each fold, as they were logged."""
        history = self.client.get_metric_history(run_id, "fold/accuracy")
        return sorted((metric.step, metric.value) for metric in history)


def test_the_server_checks_credentials_and_host_names(server):
    url = f"{server}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
    for headers, status in (({}, 401), ({"Host": "elsewhere.example"}, 403)):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(urllib.request.Request(url, headers=headers))
        assert error.value.code == status
        error.value.close()


def test_ray_jobs_resume_after_a_failure_and_a_killed_worker(server, tmp_path):
    skip_without("ray")
    kills, raises = "[accuracy,metrics.kills_score]", "[accuracy,metrics.raises_score]"
    healthy = "[accuracy,metrics.cores_score]"
    with short_folder("ray") as folder, ray_cluster(folder, str(ROOT)) as address:
        sweeps = Sweeps(tmp_path, server, "ray", JOIN_RAY)
        command = [
            "hydra/launcher=ray_cluster", f"hydra.launcher.address={address}",
            "hydra.launcher.num_cpus=1", f"scoring.metrics={kills},{raises},{healthy}",
        ]  # fmt: skip
        first = sweeps.run(*command)
        assert first.returncode == 1, first.stdout + first.stderr
        sweep, before = sweeps.board(tmp_path)
        (tmp_path / "fixed").touch()
        second = sweeps.run(*command, "resume=true")
        assert second.returncode == 0, second.stdout + second.stderr

    statuses = {metrics: row["status"] for metrics, row in before.items()}
    assert statuses == {kills: "KILLED", raises: "FAILED", healthy: "FINISHED"}
    assert "died" in before[kills]["reason"]
    assert "this metric is broken" in before[raises]["reason"]
    assert before[healthy]["cores_score_mean"] == 1.1

    again, after = sweeps.board(tmp_path)
    assert again == sweep
    assert {row["status"] for row in after.values()} == {"FINISHED"}
    assert f"Continuing run {before[kills]['run_id']}: 2 of 4 folds" in second.stdout
    kept = {name for name in statuses if after[name]["run_id"] == before[name]["run_id"]}
    assert kept == {kills, healthy}
    folds = [sweeps.folds(str(row["run_id"])) for row in after.values()]
    assert [step for step, _ in folds[0]] == [0, 1, 2, 3]
    assert folds[0] == folds[1] == folds[2]  # the same as in an uninterrupted job
    assert not [run for run in sweeps.runs() if run.info.status == "RUNNING"]
    assert len(sweeps.runs()) == 1 + 3 + 1  # the sweep, its jobs, and the superseded failure


def test_slurm_jobs_restart_and_dead_ones_are_recorded(server, tmp_path):
    skip_without("submitit")
    healthy, kills, dead = (
        "[accuracy,metrics.cores_score]",
        "[accuracy,metrics.kills_score]",
        "[accuracy]",
    )
    sweeps = Sweeps(tmp_path, server, "slurm", slurm_stand_in.install(tmp_path, dead_tasks=[2]))
    done = sweeps.run(
        "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=3", "hydra.launcher.partition=short",
        "hydra.launcher.timeout_min=30", "hydra.launcher.setup=[echo start]",
        f"scoring.metrics={healthy},{kills},{dead}",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr

    script = (tmp_path / "state" / "script.sh").read_text()
    lines = script.splitlines()
    for option in ("array=0-2%3", "cpus-per-task=3", "partition=short", "time=30", "mem=8GB"):
        assert f"#SBATCH --{option}" in lines
    assert lines.index("echo start") < lines.index("export SRUN_CPUS_PER_TASK=3")
    assert f"{sys.executable} -u -m submitit.core._submit {tmp_path}/sweep/slurm/%j" in lines[-1]

    _, rows = sweeps.board(tmp_path)
    statuses = {metrics: row["status"] for metrics, row in rows.items()}
    assert statuses == {healthy: "FINISHED", kills: "FINISHED", dead: "FAILED"}
    assert "NODE_FAIL" in rows[dead]["reason"]
    assert rows[healthy]["cores_score_mean"] == 3.3
    log = (tmp_path / "sweep" / "slurm" / "1_1" / "1_1_0_log.out").read_text()
    assert f"Continuing run {rows[kills]['run_id']}: 2 of 4 folds are finished" in log
    assert sweeps.folds(rows[kills]["run_id"]) == sweeps.folds(rows[healthy]["run_id"])
    assert not [run for run in sweeps.runs() if run.info.status == "RUNNING"]
