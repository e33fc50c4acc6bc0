"""The data set of a run, as MLflow lists it."""

import json
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag
from mlflow.exceptions import MlflowException
from mlflow.types import ColSpec, Schema, TensorSpec

from pipeline.config import Config
from pipeline.dataset import Dataset, DataSummary

MAX_SCHEMA = 1_000_000  # characters of a data set's columns; wider tables have them in the model


def dataset_input(config: Config, dataset: Dataset, summary: DataSummary) -> DatasetInput:
    """Return the data set with its digest over all values, its columns and its profile."""
    columns: list[ColSpec | TensorSpec] = [
        ColSpec("double", name) for name in dataset.feature_names
    ]
    columns += [ColSpec("long", name) for name in dataset.label_names]
    profile = {
        "n_samples": summary.n_samples,
        "n_features": summary.n_features,
        "n_labels": summary.n_labels,
        "label_counts": dict(zip(summary.label_names, summary.label_counts.tolist(), strict=True)),
        "cardinality": summary.cardinality,
    }
    schema = json.dumps({"mlflow_colspec": Schema(columns).to_dict()})
    path = getattr(config.dataset, "path", None)
    entity = DatasetEntity(
        name=dataset.name,
        digest=dataset.digest,
        source_type="local" if path else "code",
        source=json.dumps({"uri": str(Path(path).absolute())} if path else {"tags": {}}),
        schema=schema if len(schema) <= MAX_SCHEMA else None,
        profile=json.dumps(profile),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "cross-validation")])


def log_dataset(client: MlflowClient, run_id: str, described: DatasetInput) -> None:
    """Say in a run what data it is of.

    Of jobs that bring the same new data set at the same moment, MLflow lists it for one and fails
    for the others; a moment later it knows the data set.
    """
    try:
        client.log_inputs(run_id, [described])
    except MlflowException:
        client.log_inputs(run_id, [described])
