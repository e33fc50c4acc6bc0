"""The final model in MLflow: logged to be loaded by `mlflow.pyfunc`, and used from there."""

import tempfile
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from numpy.typing import NDArray

from pipeline.config import PythonModelConfig
from pipeline.runner import Evaluation

SERVED_MODEL = Path(__file__).with_name("served_model.py")
NEEDS = ("keras", "mlflow", "numpy", "pandas", "tensorflow")


def log_model(evaluation: Evaluation) -> str:
    """Log the final model to the run that is open and return its URI."""
    dataset, config = evaluation.dataset, evaluation.config.model
    signature = ModelSignature(
        Schema([ColSpec("double", name) for name in dataset.feature_names]),
        Schema([ColSpec("double", name) for name in dataset.label_names]),
    )
    own = [config.callable] if isinstance(config, PythonModelConfig) else []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # MLflow would like type hints and an example for the schema that is given explicitly.
        warnings.simplefilter("ignore", UserWarning)
        path = Path(folder, "model.keras")
        evaluation.model.save(path)
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SERVED_MODEL),
            artifacts={"model": str(path)},
            signature=signature,
            model_config={
                "feature_names": list(dataset.feature_names),
                "label_names": list(dataset.label_names),
                "modules": [path.rpartition(".")[0] for path in own],
            },
            pip_requirements=[f"{package}=={version(package)}" for package in NEEDS],
        )
    return str(info.model_uri)


def predict_rows(
    model_uri: str, feature_names: Sequence[str], rows: Sequence[Sequence[float]]
) -> NDArray[np.float64]:
    """Return the probabilities of a logged model for raw rows.

    Args:
        model_uri: Any URI that MLflow can load.
        feature_names: Name of each column of `rows`.
        rows: Raw features of shape (n_rows, n_features).

    Returns:
        Probabilities of shape (n_rows, n_labels).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # type hints again
        model = mlflow.pyfunc.load_model(model_uri)
    answer = model.predict(pd.DataFrame(rows, columns=list(feature_names), dtype=np.float64))
    return np.asarray(answer, dtype=np.float64)
