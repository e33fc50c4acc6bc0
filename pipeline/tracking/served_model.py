"""The model as MLflow serves it: raw rows in, one probability per label out.

MLflow copies this file beside the weights and runs it when the model is loaded, so it imports
nothing of Manyfold. What it does to raw rows is what `pipeline.preparation` does in training.
"""

import importlib
import json
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from numpy.typing import NDArray


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A Keras model behind named columns of numbers and categories, any of which may be missing."""

    def load_context(self, context: Any) -> None:
        """Load weights and preparation; Keras's safe mode refuses code in the file."""
        import keras

        with open(context.artifacts["preparation"], encoding="utf-8") as file:
            self._preparation = json.load(file)
        for module in self._preparation["modules"]:  # where a user's own layers are defined
            importlib.import_module(module)
        self._model = keras.saving.load_model(context.artifacts["model"], compile=False)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return one column of probabilities per label, in the order of the rows.

        Args:
            context: Not used.
            model_input: Raw features in named columns, in any order.
            params: Not used.
        """
        y_score = np.asarray(self._model(prepare(self._preparation, model_input), training=False))
        labels = self._preparation["label_names"]
        return pd.DataFrame(y_score, columns=labels, index=model_input.index)


def prepare(preparation: dict[str, Any], rows: pd.DataFrame) -> NDArray[np.float32]:
    """Return the model's input for raw rows, of shape (n, n_columns)."""
    numeric = preparation["numeric"]
    numbers = rows[numeric["names"]].apply(pd.to_numeric).to_numpy(np.float64, na_value=np.nan)
    missing = np.isnan(numbers)
    filled = np.where(missing, np.array(numeric["fill"]), numbers)
    scaled = (filled - np.array(numeric["center"])) / np.array(numeric["scale"])
    categories = np.zeros((len(rows), preparation["n_category_columns"]))
    for name, columns in preparation["categories"].items():
        for row, value in enumerate(rows[name]):
            column = columns.get(_text(value))
            if column is not None:
                categories[row, column] = 1
    indicators = missing[:, numeric["indicators"]]
    return np.hstack([scaled, indicators, categories]).astype(np.float32)


def _text(value: object) -> str:
    """Return a category as the table had it: 3 and 3.0 are the category 3."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)  # type: ignore[call-overload]


mlflow.models.set_model(ServedModel())
