"""The served model: raw rows in, one probability per label out.

MLflow copies this file beside the model and runs it when the model is loaded. It imports only the
modules that the model carries.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException

from pipeline.model.loaded_model import LoadedModel


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A model that takes named columns of raw values: numbers, dates, texts, missing ones."""

    def load_context(self, context: Any) -> None:
        """Load the model from the folder that MLflow copied; its weights hold no code."""
        self.load(Path(context.artifacts["model"]), is_compiled=True)

    def load(self, folder: Path, *, is_compiled: bool = False) -> None:
        """Load the model from its folder; MLflow runs the code that travels with it anyway.

        Raises:
            ValueError: If another version of Manyfold wrote it in another format, or a file was
                changed since.
        """
        self._model = LoadedModel(folder, trust_code=True, is_compiled=is_compiled)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return one column per label: probabilities, or 0/1 predictions.

        Args:
            context: Not used.
            model_input: Raw features in named columns, in any order.
            params: As of `LoadedModel.predict`.

        Raises:
            MlflowException: If a column is missing or a value does not suit its column; a server
                answers with its message and status 400.
        """
        try:
            return self._model.predict(model_input, params)
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


mlflow.models.set_model(ServedModel())
