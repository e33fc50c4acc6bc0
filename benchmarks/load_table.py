"""Time `dataset=table` beside a bare Arrow read of the same CSV: 1,000,000 x (50 + 10).

Each runs in fresh processes, in turn; the best of three counts. Peak memory is the whole process's,
its interpreter and libraries included.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

N_ROWS, N_FEATURES, N_LABELS = 1_000_000, 50, 10
ROUNDS = 3


def generate(path: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv

    generator = np.random.default_rng(0)
    columns: dict[str, np.ndarray[tuple[int], np.dtype[np.generic]]] = {}
    columns |= {f"x{i}": generator.standard_normal(N_ROWS).round(5) for i in range(N_FEATURES)}
    columns |= {f"y{i}": generator.integers(0, 2, N_ROWS) for i in range(N_LABELS)}
    pa.csv.write_csv(pa.table(columns), path)


def bare(path: str) -> float:
    import numpy as np
    import pyarrow.csv

    start = time.perf_counter()
    table = pyarrow.csv.read_csv(path)
    X = np.empty((table.num_rows, N_FEATURES), dtype=np.float32)
    for j in range(N_FEATURES):
        X[:, j] = table.column(j).to_numpy()
    return time.perf_counter() - start


def ours(path: str) -> float:
    from hydra import compose, initialize_config_dir

    import pipeline.dataset.table  # noqa: F401  # Arrow's import is no part of the other time either
    from pipeline.config.compose import parse_config
    from pipeline.dataset import loading
    from pipeline.runtime import CONF_DIR

    overrides = ["dataset=table", f"dataset.path='{path}'", "dataset.labels=['y*']"]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = parse_config(compose("config", overrides=overrides))
    start = time.perf_counter()
    loading.load(config.dataset)
    return time.perf_counter() - start


def measure(way: str, path: Path) -> tuple[float, float]:
    """Return seconds and peak memory in MB of one run in a process of its own."""
    command = [sys.executable, __file__, way, str(path)]
    project = Path(__file__).parents[1]
    found = subprocess.run(command, cwd=project, stdout=subprocess.PIPE, check=True, text=True)
    seconds, peak = json.loads(found.stdout)
    return seconds, peak


def main() -> None:
    matrix = N_ROWS * N_FEATURES * 4 / 2**20
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        generate(path)
        best = {"bare": (float("inf"), 0.0), "ours": (float("inf"), 0.0)}
        for _ in range(ROUNDS):
            for way, before in best.items():
                seconds, peak = measure(way, path)
                best[way] = min(before[0], seconds), max(before[1], peak)
    for way, (seconds, peak) in best.items():
        print(
            f"{way}: {seconds:.2f} s, peak {peak:.0f} MB, {peak / matrix:.2f} x the float32 array"
        )
    ratio = best["ours"][0] / best["bare"][0]
    print(f"ours / bare: {ratio:.2f} in time (at most 1.5), memory at most 5.5 x the array")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.path.insert(0, str(Path(__file__).parents[1]))
        seconds = {"bare": bare, "ours": ours}[sys.argv[1]](sys.argv[2])
        print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
    else:
        main()
