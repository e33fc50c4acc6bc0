"""The model as MLflow serves it: raw rows in, one probability per label out.

MLflow copies this file beside the weights and runs it when the model is loaded, so it imports
nothing of Manyfold. It prepares raw rows as `preprocessing/preprocessor.py` does in training.
"""

import hashlib
import importlib
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from numpy.typing import NDArray

BLANKS = ("", "?", "na", "n/a", "nan", "null", "none", "<na>")
MEANT = {"true": 1.0, "false": 0.0, **dict.fromkeys(BLANKS, np.nan)}
Model = Callable[[NDArray[np.float32]], Any]
"""Takes prepared rows, returns probabilities of shape (n, n_labels)."""


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A model behind named columns of numbers and categories, any of which may be missing."""

    def load_context(self, context: Any) -> None:
        """Load the model and its preparation; neither file holds code."""
        with open(context.artifacts["preparation"], encoding="utf-8") as file:
            self._preparation = json.load(file)
        load = load_estimators if "trusted" in self._preparation else load_network
        self._model = load(context.artifacts["model"], self._preparation)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return one column per label, in the order of the rows: probabilities, or decisions.

        Args:
            context: Not used.
            model_input: Raw features in named columns, in any order.
            params: `{"decide": True}` for 1 where a label is decided, else 0.
        """
        y_score = np.asarray(self._model(prepare(self._preparation, model_input)))
        y_score = apply_temperature(y_score, self._preparation["temperature"])
        if params and params.get("decide"):
            y_score = (y_score > np.array(self._preparation["threshold"])).astype(np.float64)
        labels = self._preparation["label_names"]
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


def load_network(path: str, preparation: dict[str, Any]) -> Model:
    """Return a Keras model; Keras's safe mode refuses code in the file."""
    import keras

    try:
        model = keras.saving.load_model(path, compile=False)
    except (TypeError, ValueError):
        if not preparation["modules"]:
            raise
        for module in preparation["modules"]:  # where a user's own layers are defined
            importlib.import_module(module)
        model = keras.saving.load_model(path, compile=False)
    return partial(model, training=False)


def load_estimators(path: str, preparation: dict[str, Any]) -> Model:
    """Return scikit-learn's estimators; skops makes nothing but the types that it may trust.

    Trees hold places of their nodes that nobody checks when they answer, so the file has to be the
    one that was logged.
    """
    import skops.io

    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != preparation["digest"]:
        raise ValueError(f"Expected the file that was logged. Received: another, {path}")
    members = skops.io.load(path, trusted=preparation["trusted"])
    return lambda X: np.mean([_answer(member, X) for member in members], axis=0, dtype=np.float32)


def _answer(member: dict[str, Any], X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities of one member of an ensemble, of shape (n, n_labels)."""
    y_score = np.tile(np.array(member["shares"], dtype=np.float32), (len(X), 1))
    for part in member["parts"]:
        answer = part["estimator"].predict_proba(X)
        if isinstance(answer, list):
            answer = np.column_stack([pair[:, 1] for pair in answer])
        elif len(part["labels"]) == 1 and answer.shape[1] == 2:
            answer = answer[:, 1:]
        y_score[:, part["labels"]] = answer
    return y_score


def prepare(preparation: dict[str, Any], rows: pd.DataFrame) -> NDArray[np.float32]:
    """Return the model's input for raw rows, of shape (n, n_columns)."""
    numeric = preparation["numeric"]
    names = numeric["names"]
    numbers = np.empty((len(rows), len(names)))
    for place, name in enumerate(names):
        numbers[:, place] = _numbers(name, rows[name])
    missing = np.isnan(numbers)
    filled = np.where(missing, np.array(numeric["fill"]), numbers)
    scaled = (filled - np.array(numeric["center"])) / np.array(numeric["scale"])
    if np.isnan(filled).any():
        lacking = [names[place] for place in np.flatnonzero(np.isnan(filled).any(axis=0))]
        raise ValueError(
            f"Expected no missing value, as the model was trained without filling in. Received: "
            f"missing values in {', '.join(lacking[:5])}."
        )
    categories = np.zeros((len(rows), preparation["n_category_columns"]))
    for name, columns in preparation["categories"].items():
        for row, value in enumerate(rows[name]):
            column = columns.get(str(value), columns.get(canonical(value)))
            if column is not None:
                categories[row, column] = 1
    indicators = missing[:, numeric["indicators"]]
    return np.hstack([scaled, indicators, categories]).astype(np.float32)


def canonical(value: object) -> str:
    """Return one text for the spellings of a number or of true and false: 8, 8.0 and "8.0"."""
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
        values = values.map(lambda value: MEANT.get(str(value).strip().lower(), value))
    try:
        numbers: NDArray[np.float64] = pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)
        return numbers
    except (ValueError, TypeError) as error:
        raise ValueError(f"Expected numbers in the column {name!r}. Received: {error}") from error


mlflow.models.set_model(ServedModel())
