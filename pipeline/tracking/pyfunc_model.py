"""The served model: raw rows in, one probability per label out.

MLflow copies this file beside the model and runs it when the model is loaded. It imports only the
modules that the model carries.
"""

import hashlib
import importlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipeline.decision.rule import DecisionRule
from pipeline.preprocessing.table_schema import TableSchema

BATCH_SIZE = 4096  # rows that a network predicts at once, to bound memory


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A model that takes named columns of raw values: numbers, dates, texts, missing ones."""

    def load_context(self, context: Any) -> None:
        """Load the model from the folder that MLflow copied; its weights hold no code."""
        self.load(Path(context.artifacts["model"]))

    def load(self, folder: Path) -> None:
        """Load the model from its folder.

        Raises:
            ValueError: If another version of Manyfold wrote it in another format, or a file was
                changed since.
        """
        self._serving = json.loads((folder / "schema.json").read_text(encoding="utf-8"))
        self._schema = TableSchema.from_dict(self._serving)
        self._rule = DecisionRule(
            np.array(self._serving["temperature"]), np.array(self._serving["threshold"])
        )
        if "trusted" in self._serving:
            self._model = _load_sklearn(folder / "model.skops", self._serving)
        else:
            self._model = _load_keras(folder / "model.keras", self._serving)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return one column per label: probabilities, or 0/1 predictions.

        Args:
            context: Not used.
            model_input: Raw features in named columns, in any order.
            params: `{"decide": True}` for 0/1 predictions.

        Raises:
            MlflowException: If a column is missing or a value does not suit its column; a server
                answers with its message and status 400.
        """
        try:
            X = self._schema.encode(model_input)
            if self._serving["requires_complete_rows"]:
                self._check_complete(X)
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        y_score = self._rule.calibrate(self._predict_proba(X))
        if params and params.get("decide"):
            y_score = self._rule.decide(y_score).astype(np.float64)
        labels = self._serving["label_names"]
        return pd.DataFrame(y_score, columns=labels, index=model_input.index)

    def _predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        if "trusted" in self._serving:
            return np.asarray(self._model.predict_proba(X))
        batches = [X[i : i + BATCH_SIZE] for i in range(0, max(len(X), 1), BATCH_SIZE)]
        return np.concatenate([np.asarray(self._model(batch, training=False)) for batch in batches])

    def _check_complete(self, X: NDArray[np.float32]) -> None:
        missing = np.isnan(X) & ~self._schema.is_categorical
        if missing.any():
            row, column = np.argwhere(missing)[0]
            raise ValueError(
                "Expected no missing number, as the model was trained without imputation. "
                f"Received: one in column {self._schema.names[column]!r}, row {row} (the first is "
                f"0), and {int(missing.sum()) - 1} more."
            )


def _load_keras(path: Path, serving: dict[str, Any]) -> Any:
    """Load a Keras model; Keras's safe mode refuses code in the file."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with _no_startup_messages():
        import keras

        if keras.config.backend() != "tensorflow":
            raise ValueError(
                f"Expected Keras with TensorFlow. Received: {keras.config.backend()}, with which "
                "it was imported. Set KERAS_BACKEND=tensorflow."
            )

        importlib.import_module("pipeline.preprocessing.layer")  # registers the layer
    try:
        return keras.saving.load_model(path, compile=False)
    except (TypeError, ValueError):
        if not serving["modules"]:
            raise
        for module in serving["modules"]:  # they define the user's own layers
            importlib.import_module(module)
        return keras.saving.load_model(path, compile=False)


def _load_sklearn(path: Path, serving: dict[str, Any]) -> Any:
    """Load a scikit-learn pipeline; skops creates only the trusted types.

    The digest of the file is checked, as a changed tree could point outside its own arrays.
    """
    import skops.io

    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != serving["digest"]:
        raise ValueError(f"Expected the model file that was logged. {path} was changed since.")
    return skops.io.load(path, trusted=serving["trusted"])


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


mlflow.models.set_model(ServedModel())
