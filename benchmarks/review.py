"""Precision of `manyfold review` on tables in which 5% of the label cells were flipped.

Of the first n cells that look wrong, n being the number of flipped cells, the fraction that was
flipped; by chance it would be 5%.
"""

import numpy as np
from sklearn.datasets import make_multilabel_classification

import pipeline
from pipeline.scoring.wrong_cells import Block, find_wrong_cells

N_ROWS, N_FEATURES, N_LABELS = 1000, 20, 5
FLIPPED = 0.05
N_TABLES = 3
MODELS = ("logistic", "random_forest", "mlp")


def precision(model: str, seed: int) -> float:
    """Return the precision for one table and model."""
    X, y = make_multilabel_classification(
        n_samples=N_ROWS,
        n_features=N_FEATURES,
        n_classes=N_LABELS,
        n_labels=2,
        random_state=seed,
    )
    is_flipped = np.random.default_rng(seed).random(y.shape) < FLIPPED
    noisy = np.where(is_flipped, 1 - y, y)
    evaluation = pipeline.evaluate(
        X, noisy, model=model, cv={"n_splits": 5, "n_repeats": 2}, progress=False
    )
    table = evaluation.predictions.groupby("row").mean(numeric_only=True)
    probability = table.filter(like="score_").to_numpy(dtype=np.float64)
    block = Block(noisy.astype(bool), probability)
    cells, *_ = find_wrong_cells(lambda: [block], int(is_flipped.sum()))
    return float(is_flipped[tuple(cells.T)].mean())


def main() -> None:
    """Print the precision of each model."""
    for model in MODELS:
        values = [precision(model, seed) for seed in range(N_TABLES)]
        print(f"{model:15} {' '.join(f'{value:.2f}' for value in values)}", flush=True)


if __name__ == "__main__":
    main()
