"""The model as MLflow serves it: raw rows in, one probability per label out.

MLflow copies this file beside the weights and runs it when the model is loaded, so it imports
nothing of Manyfold.
"""

from typing import Any

import mlflow
import numpy as np
import pandas as pd


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A Keras model behind named columns."""

    def load_context(self, context: Any) -> None:
        """Load the weights; Keras's safe mode refuses code in the file."""
        import importlib

        import keras

        for module in context.model_config["modules"]:  # where a user's own layers are defined
            importlib.import_module(module)
        self._model = keras.saving.load_model(context.artifacts["model"], compile=False)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return one column of probabilities per label, in the order of the rows.

        Args:
            context: MLflow's, with the names of features and labels.
            model_input: Raw features in named columns, in any order.
            params: Not used.
        """
        features = model_input[context.model_config["feature_names"]].to_numpy(np.float32)
        y_score = np.asarray(self._model(features, training=False))
        return pd.DataFrame(
            y_score, columns=context.model_config["label_names"], index=model_input.index
        )


mlflow.models.set_model(ServedModel())
