"""A sweep of 6 jobs, killed at 10 moments, then resumed: the leaderboard must not differ.

For the basic and for the joblib launcher, each in a store of its own: the sweep runs once to its
end, then 10 times until SIGKILL is sent to the launching process, at moments spread evenly over its
finished folds and jobs and then shifted by up to a second, and each time again with `resume=true`.
Workers of joblib are left to notice by themselves. Afterwards the table is the undisturbed one to
the last digit, but for seconds and run ids; no run is RUNNING, no job is listed twice, each has
every fold once, and no checkpoint is left.

`python -m benchmarks.killing` takes half an hour; with a launcher's name, one of them is tried.
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

MOMENTS = 10
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
PASSING = {"seconds", "run_id"}  # columns that may differ


def start(folder: Path, launcher: str, *more: str) -> "subprocess.Popen[bytes]":
    """Start the sweep in a store of its own."""
    places = (f"tracking.uri=sqlite:///{folder}/mlflow.db", f"hydra.sweep.dir={folder}/hydra")
    command = [sys.executable, "-m", "pipeline", *SWEEP, *LAUNCHERS[launcher], *places, *more]
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


def read(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the leaderboard of the only sweep in a store, and what is wrong with its runs."""
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("manyfold")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "is_sweep" in run.data.tags]
    wrong = [f"{run.info.run_id} is RUNNING" for run in runs if run.info.status == "RUNNING"]
    if len(parents) != 1:
        wrong.append(f"{len(parents)} parent runs")
    listed = [run for run in runs if run not in parents and "superseded_by" not in run.data.tags]
    overrides = [run.data.tags.get("overrides") for run in listed]
    if len(set(overrides)) < len(overrides):
        wrong.append("a job is listed twice")
    for run in listed:
        steps = [it.step for it in client.get_metric_history(run.info.run_id, "fold/accuracy")]
        if sorted(steps) != list(range(N_FOLDS)):
            wrong.append(f"{run.info.run_id} has the folds {sorted(steps)}")
    if list((folder / "checkpoints").glob("*")):
        wrong.append("checkpoints are left")
    path = mlflow.artifacts.download_artifacts(
        run_id=parents[0].info.run_id,
        artifact_path="leaderboard.json",
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
    )
    table = json.loads(Path(path).read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    return [{key: row[key] for key in row if key not in PASSING} for row in rows], wrong


def main() -> None:
    failed = 0
    with tempfile.TemporaryDirectory() as root:
        for launcher in sys.argv[1:] or LAUNCHERS:
            folder = Path(root, launcher)
            folder.mkdir()
            if start(folder, launcher).wait():
                raise SystemExit((folder / "output.txt").read_text())
            undisturbed, _ = read(folder)
            print(f"{launcher}: {len(undisturbed)} jobs undisturbed", flush=True)
            for moment in range(MOMENTS):
                failed += not kill_and_resume(Path(root), launcher, moment, undisturbed)
    print(f"{failed} of {MOMENTS * len(sys.argv[1:] or LAUNCHERS)} went wrong")
    sys.exit(bool(failed))


def done(folder: Path) -> float:
    """Return the share of the sweep that is done, by its finished jobs and the others' folds."""
    try:
        with closing(sqlite3.connect(f"file:{folder}/mlflow.db?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT run_uuid FROM runs WHERE status = 'FINISHED'")
            finished = {run_id for (run_id,) in found.fetchall()}
    except sqlite3.Error:
        return 0.0  # there is no store yet
    kept = [path for path in folder.glob("checkpoints/*/*.npz") if path.parent.name not in finished]
    return (len(finished) + len(kept) / N_FOLDS) / N_JOBS


def kill_and_resume(
    root: Path, launcher: str, moment: int, undisturbed: list[dict[str, Any]]
) -> bool:
    """Kill the sweep at one moment, resume it, and return whether all is as it should be."""
    folder = root / f"{launcher}-{moment}"
    folder.mkdir()
    began = time.perf_counter()
    process = start(folder, launcher)
    while done(folder) < moment / MOMENTS and process.poll() is None:
        time.sleep(0.02)
    time.sleep(random.Random(moment).uniform(0, 1 if moment else 5))
    process.send_signal(signal.SIGKILL)
    process.wait()
    share, n_kept = done(folder), len(list(folder.glob("checkpoints/*/*.npz")))
    after, began = time.perf_counter() - began, time.perf_counter()
    code = start(folder, launcher, "resume=true").wait()
    table, wrong = read(folder)
    if code:
        wrong.append(f"exit code {code}")
    if table != undisturbed:
        wrong.append("another leaderboard")
    seconds = time.perf_counter() - began
    told = "; ".join(wrong) or "all as it should be"
    times = f"killed after {after:5.1f} s, {share:4.0%} done, {n_kept} folds kept"
    print(f"  {times}; resumed in {seconds:5.1f} s: {told}", flush=True)
    if wrong:
        print((folder / "output.txt").read_text())
    return not wrong


if __name__ == "__main__":
    main()
