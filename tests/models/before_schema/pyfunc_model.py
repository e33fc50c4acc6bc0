"""The served model: raw rows in, one probability per label out.

MLflow copies this file beside the weights and runs it when the model is loaded, so it imports
nothing of Manyfold. It prepares raw rows as `preprocessing/preprocessor.py` does in training.
"""

import hashlib
import importlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from tempfile import TemporaryFile
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from numpy.typing import NDArray

BLANKS = ("", "?", "na", "n/a", "nan", "null", "none", "<na>")
SPECIAL = {"true": 1.0, "false": 0.0, **dict.fromkeys(BLANKS, np.nan)}
Model = Callable[[NDArray[np.float32]], Any]
"""Takes preprocessed rows, returns probabilities of shape (n, n_labels)."""


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A model that takes named columns of numbers and categories, with missing values."""

    def load_context(self, context: Any) -> None:
        """Load the model and the data for its preprocessing; neither file holds code."""
        with open(context.artifacts["preparation"], encoding="utf-8") as file:
            self._serving = json.load(file)
        path = context.artifacts["model"]
        if "trusted" in self._serving:
            import skops.io

            self._model = load_estimators(skops.io, path, self._serving)
        else:
            with _no_startup_messages():
                import keras

            self._model = load_network(keras, path, self._serving)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return one column per label: probabilities, or 0/1 predictions.

        Args:
            context: Not used.
            model_input: Raw features in named columns, in any order.
            params: `{"decide": True}` for 0/1 predictions.
        """
        y_score = np.asarray(self._model(prepare(self._serving, model_input)))
        y_score = apply_temperature(y_score, self._serving["temperature"])
        if params and params.get("decide"):
            y_score = (y_score > np.array(self._serving["threshold"])).astype(np.float64)
        labels = self._serving["label_names"]
        return pd.DataFrame(y_score, columns=labels, index=model_input.index)


def apply_temperature(
    y_score: NDArray[np.floating], temperature: list[float]
) -> NDArray[np.floating]:
    """Return probabilities whose log-odds are divided by each label's temperature."""
    if all(value == 1 for value in temperature):
        return y_score
    edge = float(np.finfo(np.float32).eps)
    inside = np.clip(y_score.astype(np.float64), edge, 1 - edge)
    return np.asarray(1 / (1 + (1 / inside - 1) ** (1 / np.array(temperature))), dtype=np.float32)


def load_network(keras: Any, path: str, serving: dict[str, Any]) -> Model:
    """Load a Keras model; Keras's safe mode refuses code in the file."""
    try:
        model = keras.saving.load_model(path, compile=False)
    except (TypeError, ValueError):
        if not serving["modules"]:
            raise
        for module in serving["modules"]:  # they define the user's own layers
            importlib.import_module(module)
        model = keras.saving.load_model(path, compile=False)
    return partial(model, training=False)


@contextmanager
def _no_startup_messages() -> Iterator[None]:
    """Hold back what TensorFlow's C++ code prints while it is imported, unless the import fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with TemporaryFile() as messages:
        stderr = os.dup(2)
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def load_estimators(skops_io: Any, path: str, serving: dict[str, Any]) -> Model:
    """Load scikit-learn estimators; skops creates only the trusted types.

    The digest of the file is checked, as a changed tree could point outside its own arrays.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != serving["digest"]:
        raise ValueError(f"Expected the model file that was logged. {path} was changed since.")
    ensemble = skops_io.load(path, trusted=serving["trusted"])
    return lambda X: np.mean(
        [_predict_proba(classifier, X) for classifier in ensemble], axis=0, dtype=np.float32
    )


def _predict_proba(classifier: dict[str, Any], X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities of one classifier of an ensemble, of shape (n, n_labels)."""
    y_score = np.tile(np.array(classifier["frequencies"], dtype=np.float32), (len(X), 1))
    for fitted in classifier["estimators"]:
        probabilities = fitted["estimator"].predict_proba(X)
        if isinstance(probabilities, list):
            probabilities = np.column_stack([pair[:, 1] for pair in probabilities])
        elif len(fitted["labels"]) == 1 and probabilities.shape[1] == 2:
            probabilities = probabilities[:, 1:]
        y_score[:, fitted["labels"]] = probabilities
    return y_score


def prepare(serving: dict[str, Any], rows: pd.DataFrame) -> NDArray[np.float32]:
    """Preprocess raw rows into the input of the model, of shape (n, n_columns)."""
    numeric = serving["numeric"]
    names = numeric["names"]
    numbers = np.empty((len(rows), len(names)))
    for column_index, name in enumerate(names):
        numbers[:, column_index] = _numbers(name, rows[name])
    missing = np.isnan(numbers)
    filled = np.where(missing, np.array(numeric["fill"]), numbers)
    scaled = (filled - np.array(numeric["center"])) / np.array(numeric["scale"])
    if np.isnan(filled).any():
        incomplete = [names[i] for i in np.flatnonzero(np.isnan(filled).any(axis=0))]
        raise ValueError(
            "Expected no missing value, as the model was trained without imputation. Received: "
            f"missing values in {', '.join(incomplete[:5])}."
        )
    categories = np.zeros((len(rows), serving["n_category_columns"]))
    for name, columns in serving["categories"].items():
        for row, value in enumerate(rows[name]):
            column = columns.get(str(value), columns.get(canonical(value)))
            if column is not None:
                categories[row, column] = 1
    indicators = missing[:, numeric["indicators"]]
    return np.hstack([scaled, indicators, categories]).astype(np.float32)


def canonical(value: object) -> str:
    """Return one text for all spellings of a number or a boolean: 8, 8.0 and "8.0"."""
    text = str(value).strip()
    if text.lower() in {"true", "false"}:
        return text.lower()
    try:
        return f"{float(text):.15g}"
    except ValueError:
        return text


def _numbers(name: str, values: pd.Series) -> NDArray[np.float64]:
    """Return a column as numbers: dates as seconds since 1970, true as 1, blanks as missing."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return np.asarray((values - pd.Timestamp(0, tz=values.dt.tz)).dt.total_seconds())
    if not pd.api.types.is_numeric_dtype(values):
        values = values.map(lambda value: SPECIAL.get(str(value).strip().lower(), value))
    try:
        numbers: NDArray[np.float64] = pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)
        return numbers
    except (ValueError, TypeError) as error:
        raise ValueError(f"Expected numbers in the column {name!r}. Received: {error}") from error


mlflow.models.set_model(ServedModel())
