"""The data set of a run, as MLflow lists it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag
from mlflow.types import ColSpec, Schema, TensorSpec

from pipeline.tracking.store import MAX_SCHEMA


@dataclass(frozen=True)
class DatasetInfo:
    """A data set as MLflow lists it.

    Attributes:
        name: Its name.
        digest: Digest over all values.
        feature_names: Names of the features.
        label_names: Names of the labels.
        profile: Its summary in numbers.
        path: The file it was read from, or None.
    """

    name: str
    digest: str
    feature_names: tuple[str, ...]
    label_names: tuple[str, ...]
    profile: Mapping[str, Any]
    path: str | None

    def as_input(self) -> DatasetInput:
        """Return the data set as MLflow's entity; wide tables leave the columns to the model."""
        columns: list[ColSpec | TensorSpec] = []
        columns += [ColSpec("double", name) for name in self.feature_names]
        columns += [ColSpec("long", name) for name in self.label_names]
        schema = json.dumps({"mlflow_colspec": Schema(columns).to_dict()})
        path = self.path and str(Path(self.path).absolute())
        entity = DatasetEntity(
            name=self.name,
            digest=self.digest,
            source_type="local" if self.path else "code",
            source=json.dumps({"uri": path} if path else {"tags": {}}),
            schema=schema if len(schema) <= MAX_SCHEMA else None,
            profile=json.dumps(self.profile),
        )
        return DatasetInput(entity, [InputTag("mlflow.data.context", "cross-validation")])
