"""Time and memory of a command on a table of 0.8 GB, memory-mapped and in memory.

A Parquet file of 200,000 rows of 1,000 random numbers is written to a temporary folder, which needs
three times as much. The command trains one epoch of a small network in three folds and the final
model: in memory, memory-mapped for the first time, and from the file of the first time. The peak is
that of RssAnon, memory that is no page of a file, read 20 times a second. The scores of the folds
must be equal.

`python -m benchmarks.mapped ROWS FEATURES` takes a table of another size; in memory, the command
needs four to five times as much.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from benchmarks.contest import cache_variables
from benchmarks.process import ROOT

N_ROWS, N_FEATURES, N_LABELS = 200_000, 1_000, 3
ROWS_AT_ONCE = 10_000
SETTINGS = (
    *("dataset=table", "dataset.labels=['y*']", "preprocessing=standard", "cv.n_splits=3"),
    *("cv.n_repeats=1", "training.epochs=1", "training.batch_size=1024", "report=none"),
)
WAYS = {"in memory": "false", "mapped, first use": "true", "mapped again": "true"}
QUERY = "SELECT key, step, value FROM metrics WHERE key LIKE 'fold/%' ORDER BY key, step"
SECONDS = "fold/fit_seconds"


def generate(path: Path, n_rows: int, n_features: int) -> None:
    """Write the table some rows at a time."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(n_features, N_LABELS)).astype(np.float32)
    names = [f"x{j}" for j in range(n_features)], [f"y{j}" for j in range(N_LABELS)]
    types = [(it, pa.float32()) for it in names[0]] + [(it, pa.int8()) for it in names[1]]
    schema = pa.schema(types)
    with pa.parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as file:
        for _ in range(0, n_rows, ROWS_AT_ONCE):
            X = generator.standard_normal((ROWS_AT_ONCE, n_features), dtype=np.float32)
            y = (X @ weights > 0).astype(np.int8)
            file.write_batch(pa.record_batch([*X.T.copy(), *y.T.copy()], schema=schema))


def run(folder: Path, path: Path, name: str) -> tuple[float, float, list[tuple[str, int, float]]]:
    """Return the seconds of a command, its peak of RssAnon in MB, and the scores of the folds."""
    store = folder / f"{list(WAYS).index(name)}.db"
    locations = f"tracking.uri=sqlite:///{store}", f"hydra.run.dir={folder}/hydra"
    settings = *SETTINGS, f"dataset.path={path}", f"dataset.memory_map={WAYS[name]}", *locations
    environment = {**os.environ, **cache_variables(str(folder))}
    began, peak = time.perf_counter(), 0.0
    with (folder / "output.txt").open("wb") as output:
        command = [sys.executable, "-m", "pipeline", *settings]
        child = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, env=environment)
        while child.poll() is None:
            peak = max(peak, anonymous(child.pid))
            time.sleep(0.05)
    seconds = time.perf_counter() - began
    if child.returncode:
        raise SystemExit((folder / "output.txt").read_text())
    with closing(sqlite3.connect(store)) as connection:
        return seconds, peak, connection.execute(QUERY).fetchall()


def anonymous(pid: int) -> float:
    """Return the memory of a process in MB that is no page of a file."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except ProcessLookupError:
        return 0.0
    return next((int(it.split()[1]) / 1000 for it in lines if it.startswith("RssAnon")), 0.0)


def main() -> None:
    """Print seconds and peak of each way."""
    n_rows, n_features = map(int, sys.argv[1:3]) if sys.argv[2:] else (N_ROWS, N_FEATURES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "t.parquet"
        generate(path, n_rows, n_features)
        print(f"{n_rows:,} x {n_features:,}: {n_rows * n_features * 4e-9:.1f} GB", flush=True)
        scores = []
        for way in WAYS:
            seconds, peak, scores_of_folds = run(folder, path, way)
            scores.append([row for row in scores_of_folds if row[0] != SECONDS])
            print(f"{way:18} {seconds:6.1f} s, RssAnon {peak:8,.0f} MB", flush=True)
        assert scores[0]
        equal = all(it == scores[0] for it in scores)
        print(f"{len(scores[0])} scores are {'equal' if equal else 'NOT EQUAL'}")


if __name__ == "__main__":
    main()
