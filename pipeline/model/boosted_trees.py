"""Trained trees of XGBoost, LightGBM and CatBoost, in files of each library's own format.

Logged models carry this file, so it imports nothing of Manyfold but what they carry.
"""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from hashlib import file_digest
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.multilabel import MultilabelEnsemble

SUFFIXES = {"xgboost": ".ubj", "lightgbm": ".txt", "catboost": ".cbm"}
"""Suffix of the files of each library: universal binary JSON, plain text, CatBoost's binary."""


@dataclass(eq=False)
class BoostedTrees:
    """Trees for one label or several, a fitted estimator of `MultilabelClassifier`.

    Attributes:
        library: Module of the library.
        booster: Its model: `xgboost.Booster`, `lightgbm.Booster` or `catboost.CatBoost`; None while
            its file is not read.
    """

    library: str
    booster: Any = None

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.floating]:
        """Return probabilities of preprocessed rows, which may miss values.

        Returns:
            Shape (n, n_labels); of CatBoost for one label, two columns.
        """
        match self.library:
            case "xgboost":
                y_score = self.booster.inplace_predict(X)
            case "lightgbm":
                y_score = self.booster.predict(X)
            case _:
                y_score = self.booster.predict(X, prediction_type="Probability")
        return np.asarray(y_score).reshape(len(X), -1)

    def write(self, path: Path) -> None:
        """Write the file of the library."""
        self.booster.save_model(str(path))

    def read(self, path: Path) -> None:
        """Read the file of the library, which holds no code.

        Raises:
            ValueError: If the library is not installed.
        """
        try:
            library = import_module(self.library)
        except ImportError as error:
            raise ValueError(
                f"Expected the library of the model. Received: no {self.library}. Install it: "
                f"pip install {self.library}"
            ) from error
        match self.library:
            case "xgboost" | "lightgbm":
                self.booster = library.Booster(model_file=str(path))
            case _:
                self.booster = library.CatBoost().load_model(str(path))


def write_boosters(pipeline: Any, folder: Path) -> tuple[Any, dict[str, str]]:
    """Write the trees of a scikit-learn pipeline into files.

    Returns:
        The pipeline without its trees, and the SHA-256 of each file by its name.
    """
    classifiers, files = [], dict[str, str]()
    for classifier in pipeline["classifier"].classifiers:
        estimators = []
        for fitted in classifier.estimators:
            path = folder / f"trees_{len(files)}{SUFFIXES[fitted.estimator.library]}"
            fitted.estimator.write(path)
            files[path.name] = _digest(path)
            empty = BoostedTrees(fitted.estimator.library)
            estimators.append(replace(fitted, estimator=empty))
        classifiers.append(replace(classifier, estimators=tuple(estimators)))
    detached = copy(pipeline)
    detached.steps = [*pipeline.steps[:-1], ("classifier", MultilabelEnsemble(classifiers))]
    return detached, files


def read_boosters(pipeline: Any, folder: Path, digests: dict[str, str]) -> None:
    """Read the trees of a pipeline from its files.

    Raises:
        ValueError: If a file was changed since, or the library is not installed.
    """
    for trees, (name, digest) in zip(_trees(pipeline), digests.items(), strict=True):
        path = folder / Path(name).name
        if _digest(path) != digest:
            raise ValueError(f"Expected the model file that was logged. {path} was changed since.")
        trees.read(path)


def _trees(pipeline: Any) -> Iterator[BoostedTrees]:
    for classifier in pipeline["classifier"].classifiers:
        for fitted in classifier.estimators:
            yield fitted.estimator


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
