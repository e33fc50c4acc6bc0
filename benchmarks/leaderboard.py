"""Time of the leaderboard of 1,000 finished jobs, and of `manyfold compare` for 20 of them.

The store is synthetic. One run is logged like a job of the default experiment (parameters, tags,
the scores of 30 folds, two curves of 100 epochs); its database rows are copied, with noise added to
the accuracy of each fold. The time of the comparison is that of the whole command with its figure;
the second of two runs counts.
"""

import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import mlflow
import numpy as np
from mlflow.entities import Metric, Param
from rich.console import Console

from benchmarks.process import measure
from pipeline.comparison import BestJobEstimate
from pipeline.comparison.leaderboard import Leaderboard, read_leaderboard
from pipeline.console.leaderboard_tables import leaderboard_tables
from pipeline.sweeps.parent_run import log_leaderboard
from pipeline.tracking.store import Store, open_store, store_at
from pipeline.tracking.sweep import (
    Sweep,
    SweepPlan,
    begin_sweep,
    end_dead_runs,
)

N_JOBS = 1000
LIMIT, COMPARE_LIMIT = 10, 5  # seconds
N_COMPARED = 20
TABLES = ("runs", "params", "tags", "metrics", "latest_metrics")
METRICS = ("accuracy", "hamming_loss", "f1_micro", "f1_macro", "roc_auc_macro")
T = TypeVar("T")


def make_store(folder: Path) -> tuple[Store, Sweep]:
    """Make a store with one sweep and the first of its jobs."""
    store = store_at(f"sqlite:///{folder}/mlflow.db")
    experiment_id = open_store(store, "manyfold")
    plan = SweepPlan("command", "digest", ("cv.n_splits",), N_JOBS, in_order=True)
    sweep, _ = begin_sweep(store, experiment_id, plan, "sweep", "code", {}, resume=False)
    client = mlflow.MlflowClient()
    job = sweep.job(0, ["training.learning_rate=0.001", "seed=0"])
    tags = {**job.tags, "mlflow.parentRunId": sweep.run_id, "headline": "accuracy"}
    tags |= {f"version.{i}": "1.2.3" for i in range(12)}
    tags |= {"data_digest": "D", "split_digest": "S"}
    run_id = client.create_run(experiment_id, tags=tags).info.run_id
    params = [Param(f"group.key_{i}", "a value") for i in range(60)]
    statistics = ("mean", "std", "ci_low", "ci_high")
    metrics = [
        Metric(f"{name}_{statistic}", 0.8, 0, 0) for name in METRICS for statistic in statistics
    ]
    metrics += [Metric(f"fold/{name}", 0.8, 0, fold) for name in METRICS for fold in range(30)]
    metrics += [
        Metric(f"epoch/{name}", 0.8, 0, epoch)
        for name in ("loss", "test_loss")
        for epoch in range(100)
    ]
    params.append(Param("scoring.metrics", str(list(METRICS))))
    client.log_batch(run_id, metrics=metrics, params=params)
    sizes = {"columns": ["n_train", "n_test"], "data": [[900, 100]] * 30}
    client.log_dict(run_id, sizes, "folds.json")
    client.set_terminated(run_id)
    return store, sweep


def multiply(database: Path, sweep: Sweep) -> None:
    """Copy the rows of the only job until there are `N_JOBS` jobs."""
    with closing(sqlite3.connect(database)) as connection:
        (first,) = connection.execute(
            "SELECT run_uuid FROM tags WHERE key = 'sweep_job'"
        ).fetchone()
        rows = {}
        for table in TABLES:
            cursor = connection.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (first,))
            rows[table] = [column[0] for column in cursor.description], cursor.fetchall()
        for number in range(1, N_JOBS):
            run_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{number}").hex
            for table, (columns, table_rows) in rows.items():
                index = columns.index("run_uuid")
                copies = [(*row[:index], run_id, *row[index + 1 :]) for row in table_rows]
                marks = ", ".join("?" * len(columns))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", copies)
            noise = np.random.default_rng(number).normal(0, 0.03, 30)
            connection.executemany(
                "UPDATE metrics SET value = value + ? "
                "WHERE run_uuid = ? AND key = 'fold/accuracy' AND step = ?",
                [(float(value), run_id, fold) for fold, value in enumerate(noise)],
            )
            new = ((f"{number}", run_id, "sweep_job"), (f"{number}", run_id, "varied.seed"))
            connection.executemany("UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?", new)
            connection.execute(
                "UPDATE latest_metrics SET value = ? WHERE run_uuid = ? AND key = 'accuracy_mean'",
                (0.8 + number * 7919 % N_JOBS / N_JOBS / 20, run_id),
            )
        connection.commit()


def timed(name: str, action: Callable[[], T]) -> tuple[T, float]:
    """Run an action and print its processor time, which other programs do not change."""
    start, wall_start = time.process_time(), time.perf_counter()
    result = action()
    seconds, wall_seconds = time.process_time() - start, time.perf_counter() - wall_start
    print(f"  {name:30} {seconds:6.2f} s ({wall_seconds:.2f} s wall time)")
    return result, seconds


def show(board: Leaderboard) -> None:
    with tempfile.TemporaryFile("w") as file:
        Console(file=file, width=100).print(*leaderboard_tables(board))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, sweep = make_store(Path(folder))
        assert store.database
        multiply(store.database, sweep)
        print(f"The leaderboard of {N_JOBS} finished jobs:")
        _, marking = timed("looking for dead jobs", lambda: end_dead_runs(sweep))
        board, reading = timed("reading and ranking", lambda: read_leaderboard(sweep))
        assert board.n_ranked == N_JOBS
        nothing = BestJobEstimate()
        _, logging = timed(
            "table and figure into MLflow", lambda: log_leaderboard(sweep, board, nothing)
        )
        _, showing = timed("on screen", lambda: show(board))
        print(f"  {'in all':30} {marking + reading + logging + showing:6.2f} s (limit: {LIMIT} s)")
        compare(store, [entry.run_id for entry in board.entries[:N_COMPARED]])


def compare(store: Store, run_ids: list[str]) -> None:
    command = ("-m", "pipeline", "compare", *run_ids, f"tracking.uri={store.uri}")
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            cost = measure(*command, "--figure", f"{folder}/figure.png")
    print(
        f"The comparison of {len(run_ids)} of them: {cost.processor:.2f} s "
        f"({cost.seconds:.2f} s wall time; limit: {COMPARE_LIMIT} s)"
    )


if __name__ == "__main__":
    main()
