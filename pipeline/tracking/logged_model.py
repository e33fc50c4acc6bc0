"""Log, load and register the final model."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.tracking.runs import FINISHED, RunReader, RunRecord
from pipeline.tracking.store import Store
from pipeline.tracking.sweep_run import BEST

PYFUNC_MODEL = Path(__file__).with_name("pyfunc_model.py")
CHAMPION = "champion"  # alias of the version that was promoted last


@dataclass(frozen=True)
class ModelFiles:
    """A final model, written to files.

    Attributes:
        feature_names: Columns of its input.
        label_names: Columns of its output.
        artifacts: Path of each file by the name that `pyfunc_model.py` loads it by.
        code_paths: Files and packages of the user's own code, or None.
        pip_requirements: Requirements with their versions.
    """

    feature_names: Sequence[str]
    label_names: Sequence[str]
    artifacts: Mapping[str, str]
    code_paths: list[str] | None
    pip_requirements: list[str]


@dataclass(frozen=True)
class PromotedModel:
    """A version of a registered model that has the alias `champion`.

    Attributes:
        name: Name of the registered model.
        version: Its version.
        run_id: Id of the run that trained it.
        uri: Its URI for `mlflow.pyfunc.load_model`, until another version is promoted.
    """

    name: str
    version: str
    run_id: str
    uri: str


def log_model(files: ModelFiles) -> str:
    """Log a model to the active run and return its URI."""
    any_type = AnyType()  # type: ignore[no-untyped-call] # "double" would refuse whole numbers
    signature = ModelSignature(
        Schema([ColSpec(any_type, name) for name in files.feature_names]),
        Schema([ColSpec("double", name) for name in files.label_names]),
        ParamSchema([ParamSpec("decide", "boolean", False)]),
    )
    with _no_type_hint_warnings():
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(PYFUNC_MODEL),
            artifacts=dict(files.artifacts),
            code_paths=files.code_paths,
            signature=signature,
            pip_requirements=files.pip_requirements,
        )
    return str(info.model_uri)


def predict_rows(
    model_uri: str, feature_names: Sequence[str], rows: Sequence[Sequence[float | str | None]]
) -> NDArray[np.float64]:
    """Return the probabilities of a logged model for raw rows, of shape (n_rows, n_labels).

    Args:
        model_uri: Any URI that MLflow can load.
        feature_names: Names of the columns of `rows`.
        rows: Raw features of shape (n_rows, n_features): numbers, texts of categories, None.
    """
    with _no_type_hint_warnings():
        model = mlflow.pyfunc.load_model(model_uri)
    y_score = model.predict(pd.DataFrame(rows, columns=list(feature_names)))
    return np.asarray(y_score, dtype=np.float64)


def promote(store: Store, run_name: str, model_name: str | None) -> PromotedModel:
    """Register the final model of a run, or of a sweep's best run, with the alias `champion`.

    Args:
        store: Store of the run.
        run_name: Name of the run or sweep, its id, or the start of its id.
        model_name: Name of the registered model; None for that of the data set.

    Raises:
        UserError: If there is no such run, or it has no final model.
    """
    reader, client = RunReader(store), mlflow.MlflowClient()
    run = reader.one(run_name)
    if run.is_sweep:
        if BEST not in run.tags:
            raise UserError(
                f"Expected a sweep with a finished job. Received: {run.run_id}, which has none."
            )
        run = reader.one(run.tags[BEST])
    condition = f"source_run_id = '{run.run_id}'"
    models = client.search_logged_models([run.experiment_id], filter_string=condition)
    if run.status != FINISHED or not models:
        reason = run.tags.get("failure") or run.tags.get("stopped_because")
        raise UserError(
            f"Expected a finished run with a final model. Received: {run.run_id}, {run.status}, "
            f"with {len(models)} models{f': {reason}' if reason else '.'}"
        )
    name = model_name or _dataset_name(run)
    versions = client.search_model_versions(f"run_id = '{run.run_id}'")
    version = next((it.version for it in versions if it.name == name), None)
    if version is None:
        with redirect_stderr(StringIO()):  # MLflow prints each step there
            registered = mlflow.register_model(f"models:/{models[0].model_id}", name)
        version = registered.version
        client.update_model_version(name, version, _description(run))
    client.set_registered_model_alias(name, CHAMPION, version)
    return PromotedModel(name, str(version), run.run_id, f"models:/{name}@{CHAMPION}")


def _dataset_name(run: RunRecord) -> str:
    inputs = mlflow.MlflowClient().get_run(run.run_id).inputs
    datasets = inputs.dataset_inputs if inputs else []
    return str(datasets[0].dataset.name) if datasets else run.name


def _description(run: RunRecord) -> str:
    """Describe a version: its headline metric, run and data."""
    metric = run.tags.get("headline", "")

    def number(of: str) -> str:
        value = run.metrics.get(f"{metric}_{of}")
        return "undefined" if value is None else f"{value:.3f}"

    interval = f"{number('ci_low')} to {number('ci_high')}"
    return (
        f"{metric} (mean: {number('mean')}, std: {number('std')}, 95% interval: {interval}); "
        f"run {run.run_id}; data {run.tags['data_digest']}"
    )


@contextmanager
def _no_type_hint_warnings() -> Iterator[None]:
    """Silence MLflow's advice to add type hints and an example; the schema is explicit."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        yield
