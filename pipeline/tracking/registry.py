"""Read and write MLflow's model registry: versions of a model, their schema, and aliases."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError
from pipeline.tracking.final_models import FinalModel, find_artifacts
from pipeline.tracking.run_reader import RunRecord
from pipeline.tracking.store import FINAL_FIT

MAX_SHOWN = 3  # columns in a message
MAX_NAME = 200  # characters of a registered model's name, which becomes part of paths
NOT_IN_NAMES = re.compile(r"[/:@%?#&'\"\\\x00-\x1f\x7f]+")  # of models: they are parts of URIs
UNKNOWN = "of unknown kind"
REGISTERED = "models:/"


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model.

    Attributes:
        name: Name of the registered model.
        version: Its version.
        run_id: Id of the run that trained it; empty if unknown.
        model_id: Id of the logged model; empty if unknown.
    """

    name: str
    version: str
    run_id: str
    model_id: str = ""

    def __str__(self) -> str:
        """Return name and version."""
        return f"{self.name} version {self.version}"

    def is_of(self, model: FinalModel) -> bool:
        """Return whether this is a version of a logged model, or of its run if it is unknown."""
        if self.model_id:
            return self.model_id == model.model_id
        return self.run_id == model.run.run_id


@dataclass(frozen=True)
class ModelSchema:
    """The features and labels of a model.

    Attributes:
        features: Kind of each feature by its name.
        labels: Names of the labels, in the order of the predictions.
    """

    features: dict[str, str]
    labels: tuple[str, ...]

    def describe_difference(self, other: "ModelSchema") -> str:
        """Describe how this schema differs from the other one; empty if it does not."""
        parts = [
            _describe_names("feature", [*self.features], [*other.features]),
            _describe_names("label", self.labels, other.labels),
        ]
        for name in self.features.keys() & other.features.keys():
            own, others = self.features[name], other.features[name]
            if UNKNOWN not in (own, others) and own != others:
                parts.append(f"feature {name!r} is a {own}, not a {others}")
        if not any(parts) and self.labels != other.labels:
            parts.append("the labels are in another order")
        return "; ".join(filter(None, parts))


def _describe_names(kind: str, names: Sequence[str], others: Sequence[str]) -> str:
    parts = []
    for verb, without in (("adds", others), ("lacks", names)):
        present = names if verb == "adds" else others
        listed = [name for name in present if name not in set(without)]
        if listed:
            shown = ", ".join(map(repr, listed[:MAX_SHOWN]))
            more = f" and {len(listed) - MAX_SHOWN} more" if len(listed) > MAX_SHOWN else ""
            parts.append(f"{verb} the {kind}{'s' if len(listed) > 1 else ''} {shown}{more}")
    return " and ".join(parts)


def default_name(run: RunRecord) -> str:
    """Return the name of a run's data set, or of the run, without characters of model URIs."""
    inputs = mlflow.MlflowClient().get_run(run.run_id).inputs
    datasets = inputs.dataset_inputs if inputs else []
    name = str(datasets[0].dataset.name) if datasets else run.name
    return NOT_IN_NAMES.sub("_", name).strip()[:MAX_NAME] or "model"


def check_name(name: str) -> None:
    """Check that models of a name can be registered and loaded by their URI.

    Raises:
        UserError: If the name has a character that means something else in `models:/name@alias`.
    """
    wrong = NOT_IN_NAMES.search(name)
    if not name.strip() or len(name) > MAX_NAME or wrong:
        cleaned = NOT_IN_NAMES.sub("_", name).strip()[:MAX_NAME] or "model"
        received = f". Received {wrong[0]!r}" if wrong else ""
        raise UserError(
            f"The model registry refused the name {name!r}: expected at most {MAX_NAME} characters "
            f"without / : @ % ? # & ' \" and line breaks{received}. Use for example --name "
            f"{cleaned!r}"
        )


def find_version(name: str, alias: str | None = None) -> ModelVersion | None:
    """Return the version of a registered model that has an alias, or None.

    Args:
        name: Name of the registered model.
        alias: The alias; None for the newest version.

    Raises:
        UserError: If MLflow refuses the name.
    """
    client = mlflow.MlflowClient()
    with _registry_errors():
        try:
            registered = client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        if alias is None:
            order = ["version_number DESC"]
            versions = client.search_model_versions(f"name = '{name}'", 1, order)
            number = versions[0].version if versions else None
        else:
            number = registered.aliases.get(alias)
        version = client.get_model_version(name, str(number)) if number else None
    if version is None:
        return None
    return _to_version(version)


def _to_version(version: MlflowVersion) -> ModelVersion:
    """Convert a version of MLflow, whose source is the logged model."""
    model_id = version.model_id or (str(version.source).partition(REGISTERED)[2])
    run_id = str(version.run_id or "")
    return ModelVersion(version.name, str(version.version), run_id, str(model_id))


def read_schema(uri: str) -> ModelSchema:
    """Return the features and labels of a logged or registered model.

    Args:
        uri: Such as `models:/m-...` or `models:/name/3`.

    Raises:
        UserError: If the model cannot be read.
    """
    with _registry_errors(), TemporaryDirectory() as folder:
        signature = mlflow.models.get_model_info(uri).signature
        try:
            model_id = uri.removeprefix(REGISTERED)
            is_logged = model_id.startswith("m-") and "/" not in model_id
            root = find_artifacts(model_id) if is_logged else uri
            path = mlflow.artifacts.download_artifacts(
                f"{root}/artifacts/model/schema.json", dst_path=folder
            )
            columns = json.loads(Path(path).read_text(encoding="utf-8"))["columns"]
            features = {column["name"]: column["kind"] for column in columns}
        except (MlflowException, OSError):  # of another program
            names = signature.inputs.input_names() if signature and signature.inputs else []
            features = dict.fromkeys(map(str, names), UNKNOWN)
        labels = signature.outputs.input_names() if signature and signature.outputs else []
    return ModelSchema(features, tuple(map(str, labels)))


def check_schema(model: FinalModel, name: str, registered: ModelVersion | None) -> None:
    """Check that a model has the features and labels of a registered model.

    Args:
        model: The model.
        name: Name of the registered model.
        registered: A version of it; None if it has none.

    Raises:
        UserError: If it has others.
    """
    if registered is None or registered.run_id == model.run.run_id:
        return
    schema = read_schema(f"models:/{model.model_id}")
    difference = schema.describe_difference(read_schema(f"models:/{name}/{registered.version}"))
    if difference:
        raise UserError(
            f"--name: {name!r} is the name of models with other features or labels. Received: run "
            f"{model.run.run_id}, whose model {difference}, compared with version "
            f"{registered.version}. Choose another name: --name {name}_2"
        )


def describe_origin(model: FinalModel) -> str:
    """Return run, data and training rows of a model in a line."""
    tags = model.run.tags
    facts = [f"Run {model.run.run_id}"]
    if "data_digest" in tags:  # only Manyfold's own runs have it
        facts.append(f"data {tags['data_digest']}")
    if FINAL_FIT in tags:
        facts.append(tags[FINAL_FIT])
    return "; ".join(facts)


def register(model: FinalModel, name: str, description: str) -> ModelVersion:
    """Register a final model, unless it is a version already, and describe the version."""
    client = mlflow.MlflowClient()
    with _registry_errors():
        versions = map(_to_version, client.search_model_versions(f"run_id = '{model.run.run_id}'"))
        version = next((each for each in versions if each.name == name and each.is_of(model)), None)
        if version is None:
            with redirect_stderr(StringIO()):  # MLflow prints each step there
                number = str(mlflow.register_model(f"models:/{model.model_id}", name).version)
            version = ModelVersion(name, number, model.run.run_id, model.model_id)
        client.update_model_version(name, version.version, description)
    return version


def set_alias(version: ModelVersion, alias: str) -> None:
    """Give the alias to the version, and take it from any other of the same name."""
    with _registry_errors():
        mlflow.MlflowClient().set_registered_model_alias(version.name, alias, version.version)


@contextmanager
def _registry_errors() -> Iterator[None]:
    """Turn refusals of the registry into a `UserError`."""
    try:
        yield
    except MlflowException as error:
        raise UserError(f"The model registry refused: {str(error).splitlines()[0]}") from error
