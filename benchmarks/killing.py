"""Kill a sweep of 6 jobs at 10 moments and resume it: the leaderboard must not differ.

For the basic and the joblib launcher, each in its own store, the sweep runs once to its end. Then
it runs 10 times until SIGKILL is sent to the launching process, and each time again with
`resume=true`. The moments are spread evenly over the finished folds and jobs, shifted by up to a
second. Workers of joblib get no signal. Afterwards the leaderboard equals that of the complete
sweep to the last digit, except for seconds and run ids; no run is RUNNING, no job is listed twice,
each has every fold once, and no checkpoint is left.

`python -m benchmarks.killing` takes half an hour; a launcher's name as argument selects one.
"""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow

N_MOMENTS = 10
N_JOBS, N_FOLDS = 6, 8
SWEEP = (
    "--multirun",
    "model.hidden_units=[8],[4]",
    "seed=range(3)",
    "cv.n_splits=4",
    "cv.n_repeats=2",
    "training.fits_per_program=1",
    "training.n_threads=1",
    "training.epochs=500",
    "report=none",
)
LAUNCHERS = {
    "basic": (),
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
}
VARIABLE_COLUMNS = {"seconds", "run_id"}


def start(folder: Path, launcher: str, *overrides: str) -> "subprocess.Popen[bytes]":
    """Start the sweep with the store of a folder."""
    locations = (f"tracking.uri=sqlite:///{folder}/mlflow.db", f"hydra.sweep.dir={folder}/hydra")
    arguments = [*SWEEP, *LAUNCHERS[launcher], *locations, *overrides]
    command = [sys.executable, "-m", "pipeline", *arguments]
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


def read(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the leaderboard of the only sweep in a store, and the errors in its runs."""
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("manyfold")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "is_sweep" in run.data.tags]
    errors = [f"{run.info.run_id} is RUNNING" for run in runs if run.info.status == "RUNNING"]
    if len(parents) != 1:
        errors.append(f"{len(parents)} parent runs")
    listed = [run for run in runs if run not in parents and "superseded_by" not in run.data.tags]
    overrides = [run.data.tags.get("overrides") for run in listed]
    if len(set(overrides)) < len(overrides):
        errors.append("a job is listed twice")
    for run in listed:
        steps = [
            value.step for value in client.get_metric_history(run.info.run_id, "fold/accuracy")
        ]
        if sorted(steps) != list(range(N_FOLDS)):
            errors.append(f"{run.info.run_id} has the folds {sorted(steps)}")
    if list((folder / "checkpoints").glob("*")):
        errors.append("checkpoints are left")
    path = mlflow.artifacts.download_artifacts(
        run_id=parents[0].info.run_id,
        artifact_path="leaderboard.json",
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
    )
    table = json.loads(Path(path).read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    return [{key: row[key] for key in row if key not in VARIABLE_COLUMNS} for row in rows], errors


def main() -> None:
    failed = 0
    with tempfile.TemporaryDirectory() as root:
        for launcher in sys.argv[1:] or LAUNCHERS:
            folder = Path(root, launcher)
            folder.mkdir()
            if start(folder, launcher).wait():
                raise SystemExit((folder / "output.txt").read_text())
            expected, _ = read(folder)
            print(f"{launcher}: {len(expected)} jobs in the complete sweep", flush=True)
            for moment in range(N_MOMENTS):
                failed += not kill_and_resume(Path(root), launcher, moment, expected)
    print(f"{failed} of {N_MOMENTS * len(sys.argv[1:] or LAUNCHERS)} failed")
    sys.exit(bool(failed))


def finished_fraction(folder: Path) -> float:
    """Return the finished fraction of the sweep, by finished jobs and folds of the others."""
    try:
        with closing(sqlite3.connect(f"file:{folder}/mlflow.db?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT run_uuid FROM runs WHERE status = 'FINISHED'")
            finished = {run_id for (run_id,) in rows.fetchall()}
    except sqlite3.Error:
        return 0.0  # there is no store yet
    checkpoints = [
        path for path in folder.glob("checkpoints/*/*.npz") if path.parent.name not in finished
    ]
    return (len(finished) + len(checkpoints) / N_FOLDS) / N_JOBS


def kill_and_resume(root: Path, launcher: str, moment: int, expected: list[dict[str, Any]]) -> bool:
    """Kill the sweep at one moment, resume it, and return whether there are no errors."""
    folder = root / f"{launcher}-{moment}"
    folder.mkdir()
    start_time = time.perf_counter()
    process = start(folder, launcher)
    while finished_fraction(folder) < moment / N_MOMENTS and process.poll() is None:
        time.sleep(0.02)
    time.sleep(random.Random(moment).uniform(0, 1 if moment else 5))
    process.send_signal(signal.SIGKILL)
    process.wait()
    fraction = finished_fraction(folder)
    n_checkpoints = len(list(folder.glob("checkpoints/*/*.npz")))
    after, start_time = time.perf_counter() - start_time, time.perf_counter()
    code = start(folder, launcher, "resume=true").wait()
    table, errors = read(folder)
    if code:
        errors.append(f"exit code {code}")
    if table != expected:
        errors.append("the leaderboard differs")
    seconds = time.perf_counter() - start_time
    report = "; ".join(errors) or "no errors"
    times = f"killed after {after:5.1f} s, {fraction:4.0%} finished, {n_checkpoints} folds saved"
    print(f"  {times}; resumed in {seconds:5.1f} s: {report}", flush=True)
    if errors:
        print((folder / "output.txt").read_text())
    return not errors


if __name__ == "__main__":
    main()
