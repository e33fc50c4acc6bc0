"""scikit-learn's MLPClassifier under cross_validate, two fits at a time."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_validate
from sklearn.neural_network import MLPClassifier

from benchmarks.works import Data, Work


class Contestant:
    """Fits in worker processes; initial weights are scikit-learn's own."""

    def __init__(self, work: Work, data: Data) -> None:
        """Keep the table."""
        self._data = data
        self._model = MLPClassifier(
            hidden_layer_sizes=work.hidden_units,
            batch_size=work.batch_size,
            max_iter=work.epochs,
            epsilon=1e-7 * work.n_labels,  # its loss is the sum over labels
            alpha=0,
            tol=0,
            n_iter_no_change=work.epochs,
            random_state=0,
        )

    def prepare(self) -> None:
        """Do nothing; nothing is compiled."""

    def train(self, fits: Sequence[int]) -> list[NDArray[np.floating]]:
        """Return the probabilities for the test rows of each fit."""
        splits = [self._data.rows(fit) for fit in fits]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            result = cross_validate(
                self._model,
                self._data.X,
                self._data.y,
                cv=splits,
                n_jobs=2,
                return_estimator=True,
                scoring="accuracy",
            )
        pairs = zip(result["estimator"], splits, strict=True)
        return [model.predict_proba(self._data.X[test]) for model, (_, test) in pairs]
