"""The tutorial's data: scikit-learn's `make_multilabel_classification`, bit for bit, but quickly.

scikit-learn rejects one Python-level draw at a time. Where a seed makes one class improbable (the
default data: about 1e-4) that takes some 20 seconds. Here the same random stream is drawn in bulk
and scanned for the first accepted draw; the generator is then put back to just behind it.
"""

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from pipeline.config import SyntheticConfig
from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError

_BULK = 4096


def synthetic(config: SyntheticConfig) -> Dataset:
    """Return the generated table; features are named x0, x1, ..., labels y0, y1, ...

    References:
        `sklearn.datasets.make_multilabel_classification`.
    """
    if config.n_labels == 0 and not config.allow_unlabeled:
        raise UserError(
            "dataset: expected n_labels of at least 1 where allow_unlabeled=false. Received: "
            "n_labels=0, under which every row is unlabeled."
        )
    generator = RandomState(config.random_state)
    p_class = generator.uniform(size=config.n_classes)
    p_class /= p_class.sum()
    p_word = generator.uniform(size=(config.n_features, config.n_classes))
    p_word /= p_word.sum(axis=0)

    X = np.zeros((config.n_samples, config.n_features), dtype=np.float32)  # holds counts exactly
    y = np.zeros((config.n_samples, config.n_classes), dtype=np.int8)
    for row in range(config.n_samples):
        labels = _draw_labels(generator, np.cumsum(p_class), config)
        words = _draw_words(generator, p_word, labels, config.length)
        X[row] = np.bincount(words, minlength=config.n_features)
        y[row, labels] = 1
    return Dataset(
        name=config.name or "synthetic",
        X=X,
        y=y,
        feature_names=tuple(f"x{i}" for i in range(config.n_features)),
        label_names=tuple(f"y{i}" for i in range(config.n_classes)),
    )


def _draw_labels(
    generator: RandomState, cumulative: NDArray[np.float64], config: SyntheticConfig
) -> list[int]:
    size = config.n_classes + 1
    while size > config.n_classes or (size == 0 and not config.allow_unlabeled):
        size = generator.poisson(config.n_labels)
    labels: set[int] = set()  # its order of iteration is part of the exact result
    while len(labels) < size:
        labels.update(_next_new(generator, cumulative, labels, size - len(labels)))
    return list(labels)


def _next_new(
    generator: RandomState, cumulative: NDArray[np.float64], known: set[int], size: int
) -> NDArray[np.int64]:
    """Return the next draw of `size` classes with one that is new; the stream is left behind it."""
    first = np.searchsorted(cumulative, generator.uniform(size=size))
    if not known.issuperset(first):
        return first
    while True:
        state = generator.get_state()
        draws = np.searchsorted(cumulative, generator.uniform(size=(_BULK, size)))
        new = ~np.isin(draws, list(known)).all(axis=1)
        if new.any():
            accepted = int(new.argmax())
            generator.set_state(state)
            generator.uniform(size=(accepted + 1, size))
            found: NDArray[np.int64] = draws[accepted]
            return found


def _draw_words(
    generator: RandomState, p_word: NDArray[np.float64], labels: list[int], length: int
) -> NDArray[np.int64]:
    n_words = 0
    while n_words == 0:
        n_words = generator.poisson(length)
    if not labels:
        return generator.randint(len(p_word), size=n_words)
    cumulative = p_word.take(labels, axis=1).sum(axis=1).cumsum()
    cumulative /= cumulative[-1]
    return np.searchsorted(cumulative, generator.uniform(size=n_words))
