"""Load a logged model from MLflow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError
from pipeline.tracking import registry
from pipeline.tracking.run_reader import RunReader
from pipeline.tracking.store import Store


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model, and the names of its columns."""

    model: Any
    feature_names: tuple[str, ...]
    label_names: tuple[str, ...]

    def __call__(self, rows: pd.DataFrame, decide: bool) -> pd.DataFrame:
        """Return one column per label: 0/1 predictions if `decide`, else probabilities.

        Raises:
            UserError: If a column is missing or a value does not suit its column.
        """
        try:
            return self.model.predict(rows, params={"decide": decide})
        except MlflowException as error:
            raise UserError(str(error)) from error


def load_logged_model(store: Store, name: str) -> LoadedModel:
    """Load the final model of a run or of a sweep's best run, a registered model, or a folder.

    Args:
        store: Store of the model.
        name: Name or id of the run, or the start of its id; or `models:/NAME@ALIAS`, or another
            URI or folder of MLflow's.

    Raises:
        UserError: If there is no such model.
    """
    is_uri = ":/" in name or Path(name).is_dir()
    mlflow.set_tracking_uri(store.uri)
    uri = (
        name if is_uri else f"models:/{registry.find_final_model(RunReader(store), name).model_id}"
    )
    try:
        model: Any = mlflow.pyfunc.load_model(uri)
    except (MlflowException, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"Expected a run or a model of {store.uri}. Received: {name!r} ({reason})"
        ) from error
    schemas = model.metadata.get_input_schema(), model.metadata.get_output_schema()
    if not all(schemas):
        raise UserError(f"Expected a model of Manyfold. Received: {name!r}, without a signature.")
    return LoadedModel(model, *(tuple(schema.input_names()) for schema in schemas))
