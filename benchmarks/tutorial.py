"""The tutorial's work, for both sides: its table and splits, Manyfold's fits, the plain loop."""

from collections.abc import Iterable

import keras
import numpy as np
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray

from pipeline.config.compose import parse_config
from pipeline.config.schema import Config
from pipeline.cv.splitters import Split
from pipeline.dataset.dataset import Dataset
from pipeline.preprocessing.fitting import fit_preprocessors
from pipeline.runtime import CONF_DIR
from pipeline.training.base import FitSpec, fit_seed


def compose_config(*overrides: str) -> Config:
    """Return the configuration of `python -m pipeline` with these overrides."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return parse_config(compose("config", overrides=list(overrides)))


def make_fits(config: Config, dataset: Dataset, work: Iterable[tuple[int, Split]]) -> list[FitSpec]:
    """Return one fit for each pair of seed and split."""
    seeds, splits = zip(*work, strict=True)
    preprocessors = fit_preprocessors(
        config.preprocessing, dataset.X, dataset.schema, [split.train for split in splits]
    )
    return [
        FitSpec(fit_seed(seed, (split.repeat, split.fold)), split.train, split.test, preprocessor)
        for seed, split, preprocessor in zip(seeds, splits, preprocessors, strict=True)
    ]


def plain_keras(
    dataset: Dataset, split: Split, *, seed: int, steps_per_execution: int = 1
) -> NDArray[np.float32]:
    """Return probabilities for the test rows, by the tutorial's recipe as it is usually written.

    Args:
        dataset: The table.
        split: The fold.
        seed: Draws initial weights and order of rows, though not those that Manyfold draws.
        steps_per_execution: Keras's own way to run less Python; the training stays the same.
    """
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((dataset.n_features,)),
            keras.layers.Dense(20, kernel_initializer="he_uniform", activation="relu"),
            keras.layers.Dense(dataset.n_labels, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", steps_per_execution=steps_per_execution)
    model.fit(dataset.X[split.train], dataset.y[split.train], epochs=100, batch_size=32, verbose=0)
    scores: NDArray[np.float32] = model.predict(dataset.X[split.test], verbose=0)
    return scores
