"""Keras: the plain loop of `fit` and `predict`, and the same with its best settings."""

from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks.works import Data, Work, initial_weights


class Contestant:
    """One fit after another.

    The plain loop builds and compiles a model for each fit. With its best settings, one model is
    compiled by XLA and reused with new weights, and an execution runs the steps of an epoch.
    """

    def __init__(self, work: Work, data: Data, *settings: str) -> None:
        """Keep the table; `settings` is empty, or `tuned`."""
        self._work, self._data, self._X = work, data, data.dense
        self._is_tuned = settings == ("tuned",)
        self._model: keras.Model = None
        self._optimizer_state: list[NDArray[np.generic]] = []

    def prepare(self) -> None:
        """Compile the model that is reused, by an epoch of each of its shapes."""
        if not self._is_tuned:
            return
        train, test = self._data.rows(0)
        n_steps = -(-len(train) // self._work.batch_size)
        self._model = self._make_model(jit_compile=True, steps_per_execution=n_steps)
        self._model.optimizer.build(self._model.trainable_variables)
        self._optimizer_state = [it.numpy() for it in self._model.optimizer.variables]
        self._fit(self._model, train, test, epochs=1)

    def train(self, fits: Sequence[int]) -> list[NDArray[np.floating]]:
        """Return the probabilities for the test rows of each fit."""
        scores = []
        for fit in fits:
            model = self._reset_model(fit) if self._is_tuned else self._make_model()
            scores.append(self._fit(model, *self._data.rows(fit), epochs=self._work.epochs))
        return scores

    def _make_model(self, **settings: bool | int) -> keras.Model:
        hidden = [
            keras.layers.Dense(units, kernel_initializer="he_uniform", activation="relu")
            for units in self._work.hidden_units
        ]
        output = keras.layers.Dense(self._work.n_labels, activation="sigmoid")
        model = keras.Sequential([keras.Input((self._work.n_features,)), *hidden, output])
        model.compile("adam", "binary_crossentropy", **settings)
        return model

    def _reset_model(self, fit: int) -> keras.Model:
        model = self._model
        model.set_weights([it for layer in initial_weights(self._work, fit) for it in layer])
        for variable, value in zip(model.optimizer.variables, self._optimizer_state, strict=True):
            variable.assign(value)
        return model

    def _fit(
        self,
        model: keras.Model,
        train: NDArray[np.int32],
        test: NDArray[np.int32],
        epochs: int,
    ) -> NDArray[np.floating]:
        X, y = self._X[train], self._data.y[train]
        model.fit(X, y, epochs=epochs, batch_size=self._work.batch_size, verbose=0)
        size = 4096 if self._is_tuned else None
        scores: NDArray[np.floating] = model.predict(self._X[test], batch_size=size, verbose=0)
        return scores
