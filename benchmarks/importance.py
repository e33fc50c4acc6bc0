"""Time of the importance of 50 features beside that of the training alone.

Training is that of all folds and of the final model, without the data and the report. The first
one of a network compiles its programs.
"""

import os
import time
from collections.abc import Sequence
from statistics import median

os.environ["MANYFOLD_CACHE_DIR"] = "off"  # else programs of earlier processes are not compiled

import numpy as np

import pipeline
from pipeline.cv.splitters import make_splits
from pipeline.dataset.in_memory import make_dataset
from pipeline.evaluation.evaluator import Evaluator
from pipeline.training.cached_programs import _cache

N_FEATURES, N_WARM = 50, 3
LARGE = ("model.hidden_units=[256,128]", "cv.n_repeats=1")
FOREST = ("model=random_forest", "cv.n_repeats=1")
CASES = {
    "1,000 rows -> 20 -> 3 labels, 30 folds": (1000, 3, ()),
    "2,000 rows -> 256, 128 -> 14 labels, 10 folds": (2000, 14, LARGE),
    "logistic regression, 1,000 rows, 3 labels, 30 folds": (1000, 3, ("model=logistic",)),
    "random forest, 1,000 rows, 3 labels, 10 folds": (1000, 3, FOREST),
}


def train(n_samples: int, n_labels: int, settings: Sequence[str], importance: str) -> float:
    """Return the seconds of one training."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, N_FEATURES))
    y = X @ rng.normal(size=(N_FEATURES, n_labels)) + rng.normal(size=(n_samples, n_labels)) > 0
    dataset = make_dataset("random", X, y.astype(int), groups=None, folds=None, ids=None)
    config = pipeline.make_config(*settings, importance)
    splits = make_splits(config.cv, dataset)
    began = time.perf_counter()
    for _ in Evaluator(config, dataset, splits).folds(lambda n: None):
        pass
    return time.perf_counter() - began


def main() -> None:
    """Print seconds and ratio of each case, with and after compilation."""
    for name, case in CASES.items():
        print(name)
        seconds = []
        for importance in ("report.importance=false", "report.importance=true"):
            _cache.clear()
            first = train(*case, importance)
            seconds.append((first, median(train(*case, importance) for _ in range(N_WARM))))
        for when, without, with_it in zip(("first", "later"), *seconds, strict=True):
            ratio = with_it / without
            print(
                f"  {when} {without:6.2f} s, with importance {with_it:6.2f} s: {ratio:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
