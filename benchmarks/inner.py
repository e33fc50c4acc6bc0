"""Early stopping, and thresholds by inner cross-validation: Manyfold against a Keras loop.

Both sides train the default configuration's 30 folds, stop each early (patience 5), and learn a
threshold per label from 3 inner folds of each training fold, which stop early too: 120 fits, each
with a validation part of its own. Manyfold's time is that of the runner, from laying out the
fits to the last scored fold, with a program that has to be compiled; the final model and its inner
fits are in it. The loop builds, compiles, fits with `keras.callbacks.EarlyStopping` and predicts,
one fit at a time; it is timed on whole folds, of 4 fits each, and their median is taken 30 times.
TensorFlow is imported already.
"""

import time
from statistics import median

import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks.tutorial import compose_config
from pipeline.config.schema import Config
from pipeline.cv.splitters import Split, inner_splits, make_splits, validation_part
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.loading import load
from pipeline.decision.tuning import learn_rule
from pipeline.evaluation.evaluator import Evaluator
from pipeline.training.base import fit_seed

FOLDS = 2  # of the Keras loop


def main() -> None:
    config = compose_config(
        "training.early_stopping.patience=5",
        "training.learning_rate=0.01",
        "decision.threshold=per_label",
    )
    dataset = load(config.dataset)
    splits = make_splits(config.cv, dataset)
    began = time.perf_counter()
    evaluator = Evaluator(config, dataset, splits)
    folds = list(evaluator.folds(lambda n: None))
    ours = time.perf_counter() - began

    seconds, epochs = [], 0
    for split in splits[:FOLDS]:
        began = time.perf_counter()
        epochs += keras_fold(config, dataset, split)
        seconds.append(time.perf_counter() - began)
    loop = len(splits) * median(seconds)
    trained = np.mean([len(fold.loss) for fold in folds])
    print(f"{len(splits)} folds with early stopping and 3 inner folds each:")
    print(f"  Keras loop {loop:8.2f} s  ({len(splits)} x the median of {FOLDS} folds; on average")
    print(f"             {epochs / FOLDS / 4:.0f} epochs a fit)")
    print(f"  Manyfold   {ours:8.2f} s  with compiling: {loop / ours:.0f} times as fast")
    print(f"             (on average {trained:.0f} epochs an outer fit)")


def keras_fold(config: Config, dataset: Dataset, split: Split) -> int:
    """Train a fold and its inner folds, learn its thresholds; return the epochs this took."""
    seed = fit_seed(config.seed, (split.repeat, split.fold))
    inner = inner_splits(dataset, split.train, 3, 0.2, seed)
    _, epochs = keras_fit(config, dataset, split.train, split.test, seed)
    scores = []
    for train, held_out in inner:
        y_score, n = keras_fit(config, dataset, train, held_out, seed)
        scores.append(y_score)
        epochs += n
    rows = np.concatenate([held_out for _, held_out in inner])
    learn_rule(config.decision, dataset.y[rows], np.concatenate(scores), config.scoring)
    return epochs


def keras_fit(
    config: Config, dataset: Dataset, train: NDArray[np.int32], test: NDArray[np.int32], seed: int
) -> tuple[NDArray[np.float32], int]:
    """Return probabilities of the test rows and how many epochs were trained."""
    share = config.training.early_stopping.validation_fraction
    train, valid = validation_part(dataset, train, share, seed)
    model = keras.Sequential(
        [
            keras.Input((dataset.n_features,)),
            keras.layers.Dense(20, kernel_initializer="he_uniform", activation="relu"),
            keras.layers.Dense(dataset.n_labels, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(config.training.learning_rate), "binary_crossentropy")
    history = model.fit(
        dataset.X[train],
        dataset.y[train],
        epochs=config.training.epochs,
        batch_size=config.training.batch_size,
        validation_data=(dataset.X[valid], dataset.y[valid]),
        callbacks=[keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)],
        verbose=0,
    )
    scores: NDArray[np.float32] = model.predict(dataset.X[test], verbose=0)
    return scores, len(history.epoch)


if __name__ == "__main__":
    main()
