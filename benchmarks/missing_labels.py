"""Whole evaluation of a table of which 30% of the labels are known, against the same one complete.

The table is as large as ToxCast: 8,000 rows, 1,000 features, 600 labels. Evaluations take turns.
`python -m benchmarks.missing_labels`
"""

import time
from statistics import median

import numpy as np

import pipeline

N_ROWS, N_FEATURES, N_LABELS = 8_000, 1_000, 600
FRACTION = 0.3  # of the labels that is known
N_RUNS = 3


def main() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_FEATURES)).astype(np.float32)
    logits = X @ rng.normal(size=(N_FEATURES, N_LABELS)) / 30 + rng.normal(size=(N_ROWS, N_LABELS))
    y = (logits > 1).astype(float)
    tables = {"complete": y, "masked": np.where(rng.random(y.shape) < FRACTION, y, np.nan)}
    seconds: dict[str, list[float]] = {name: [] for name in tables}
    for run in range(N_RUNS + 1):
        for name, labels in tables.items():
            began = time.perf_counter()
            pipeline.evaluate(
                X,
                labels,
                missing_labels="mask",
                cv={"n_splits": 5, "n_repeats": 1},
                model={"hidden_units": [128]},
                training={"epochs": 10, "batch_size": 256},
            )
            if run:  # the first compiles
                seconds[name].append(time.perf_counter() - began)
                print(f"{name:9} {seconds[name][-1]:5.1f} s", flush=True)
    print(f"masked: {median(seconds['masked']) / median(seconds['complete']):.2f}x")


if __name__ == "__main__":
    main()
