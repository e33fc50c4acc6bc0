"""Generate the data of scikit-learn's `make_multilabel_classification`, bit for bit, but faster.

scikit-learn rejects draws one at a time in Python. Where a seed makes one class improbable (about
1e-4 in the default data) that takes some 20 seconds. This module draws the same random stream in
bulk, finds the first accepted draw and sets the generator to the state just after it.
"""

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from pipeline.config import SyntheticConfig
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.files import LEAVE_OUT, check_fits_memory
from pipeline.errors import UserError
from pipeline.preprocessing import TableSchema

_N_DRAWS = 4096


def load(config: SyntheticConfig) -> Dataset:
    """Generate a data set; features are named x0, x1, ..., labels y0, y1, ...

    References:
        `sklearn.datasets.make_multilabel_classification`.
    """
    if config.n_labels == 0 and not config.allow_unlabeled:
        raise UserError(
            "dataset: expected n_labels of at least 1 with allow_unlabeled=false. Received: "
            "n_labels=0, with which every row is unlabeled."
        )
    generator = RandomState(config.random_state)
    p_class = generator.uniform(size=config.n_classes)
    p_class /= p_class.sum()
    p_feature = generator.uniform(size=(config.n_features, config.n_classes))
    p_feature /= p_feature.sum(axis=0)

    check_fits_memory(
        "dataset", (config.n_samples, config.n_features + config.n_classes), 4, LEAVE_OUT
    )
    X = np.zeros((config.n_samples, config.n_features), dtype=np.float32)  # holds counts exactly
    y = np.zeros((config.n_samples, config.n_classes), dtype=np.int8)
    for row in range(config.n_samples):
        labels = _draw_labels(generator, np.cumsum(p_class), config)
        features = _draw_features(generator, p_feature, labels, config.length)
        X[row] = np.bincount(features, minlength=config.n_features)
        y[row, labels] = 1
    return Dataset(
        name=config.name or "synthetic",
        X=X,
        y=y,
        schema=TableSchema.of_numbers(f"x{i}" for i in range(config.n_features)),
        label_names=tuple(f"y{i}" for i in range(config.n_classes)),
    )


def _draw_labels(
    generator: RandomState, cumulative: NDArray[np.float64], config: SyntheticConfig
) -> list[int]:
    size = config.n_classes + 1
    while size > config.n_classes or (size == 0 and not config.allow_unlabeled):
        size = generator.poisson(config.n_labels)
    labels: set[int] = set()  # a set, as in scikit-learn: its order of iteration affects the result
    while len(labels) < size:
        labels.update(_draw_until_new(generator, cumulative, labels, size - len(labels)))
    return list(labels)


def _draw_until_new(
    generator: RandomState, cumulative: NDArray[np.float64], labels: set[int], size: int
) -> NDArray[np.int64]:
    """Return the next draw of `size` classes of which at least one is not in `labels`."""
    first = np.searchsorted(cumulative, generator.uniform(size=size))
    if not labels.issuperset(first):
        return first
    while True:
        state = generator.get_state()
        draws = np.searchsorted(cumulative, generator.uniform(size=(_N_DRAWS, size)))
        has_new = ~np.isin(draws, list(labels)).all(axis=1)
        if has_new.any():
            accepted = int(has_new.argmax())
            generator.set_state(state)
            generator.uniform(size=(accepted + 1, size))  # skips the stream up to this draw
            new_draw: NDArray[np.int64] = draws[accepted]
            return new_draw


def _draw_features(
    generator: RandomState, p_feature: NDArray[np.float64], labels: list[int], length: int
) -> NDArray[np.int64]:
    n_draws = 0
    while n_draws == 0:
        n_draws = generator.poisson(length)
    if not labels:
        return generator.randint(len(p_feature), size=n_draws)
    cumulative = p_feature.take(labels, axis=1).sum(axis=1).cumsum()
    cumulative /= cumulative[-1]
    return np.searchsorted(cumulative, generator.uniform(size=n_draws))
