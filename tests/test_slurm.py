"""Payloads and results of Slurm jobs; `make test-scale` installs submitit."""

import os
from pathlib import Path

import pytest
import slurm_stand_in
from servers import open_mlflow_server

from tests.command_runner import CommandRunner

pytestmark = pytest.mark.scale

ROOT = Path(__file__).parents[1]
SECRET = "s3cr3t-pa55"
QUICK = (
    *("model=dummy", "dataset.n_samples=60", "dataset.predict_rows=[]", "report=none"),
    *("cv.n_splits=2", "cv.n_repeats=1", "scoring.metrics=[metrics.n_payloads_score]"),
)
METRICS = """
import os
from pathlib import Path

if os.environ.get("SLURM_ARRAY_TASK_ID") == "0":
    from submitit.core import utils

    dump = utils.cloudpickle_dump

    def dump_partly(result, path):  # as on a full disk
        dump(result, path)
        os.truncate(path, 20)

    utils.cloudpickle_dump = dump_partly

FILES = Path(__file__).parent.glob("sweep/slurm/payload_*.pkl")
MODES = [oct(path.stat().st_mode & 0o777) for path in FILES]


def n_payloads_score(y_true, y_score, y_pred):
    return len(MODES) if set(MODES) == {"0o600"} else -1
"""


def test_a_cut_off_result_stops_no_other_job_and_payloads_are_private_and_deleted(
    tmp_path, monkeypatch
):
    pytest.importorskip("submitit")
    (tmp_path / "metrics.py").write_text(METRICS)
    (tmp_path / "server").mkdir()
    for name, value in slurm_stand_in.install(tmp_path).items():
        monkeypatch.setenv(name, value)
    path = [str(ROOT), str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    with open_mlflow_server(tmp_path / "server", SECRET) as uri:
        store = CommandRunner(tmp_path, uri)
        slurm = ("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1")
        out, err = store.run("--multirun", *slurm, "seed=1,2", *QUICK)
        jobs, parent = store.jobs_and_parent()
    assert "Job 1 has no result: " in err
    assert "1_0_0_result.pkl cannot be read (UnpicklingError: pickle data was truncated)" in err
    assert [run.info.status for run in (*jobs, parent)] == ["FINISHED"] * 3
    # One task runs after another and deletes its payload.
    assert [run.data.metrics["n_payloads_score_mean"] for run in jobs] == [2, 1]
    assert list(tmp_path.glob("sweep/slurm/payload_*.pkl")) == []
    files = [it for it in tmp_path.rglob("*") if it.is_file() and it.name != "mlflow.log"]
    assert [it for it in files if SECRET.encode() in it.read_bytes()] == []
    assert SECRET not in out + err
