"""Log the final model and check that it predicts the same after it is loaded."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Object, Property
from mlflow.utils import environment
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.runtime import uninterrupted
from pipeline.tracking.pyfunc_model import ServedModel
from pipeline.tracking.run import TrackedRun

PYFUNC_MODEL = Path(__file__).with_name("pyfunc_model.py")
NAME = "model"  # by which `runs:/ID/model` finds it
TOLERANCE = 1e-5  # of probabilities, between the model in memory and the loaded one


def make_signature(
    features: Sequence[str], labels: Sequence[str], texts: Collection[str] = ()
) -> ModelSignature:
    """Return the signature of a model.

    Features are of any type: "double" would refuse whole numbers, "long" missing values, and
    "string" a column without a value. Their kinds are in `schema.json`. Only the columns of `texts`
    are of type "string".
    """
    any_type = AnyType()  # type: ignore[no-untyped-call]
    by_label = Object([Property(name, "double", required=False) for name in labels])
    params = [
        ParamSpec("decide", "boolean", False),
        ParamSpec("threshold", "double", None),
        ParamSpec("thresholds", by_label, {}),
    ]
    return ModelSignature(
        Schema([ColSpec("string" if name in texts else any_type, name) for name in features]),
        Schema([ColSpec("double", name) for name in labels]),
        ParamSchema(params),
    )


@contextmanager
def begin_model(run: TrackedRun) -> Iterator[LoggedModel]:
    """Create a model of the active run, for the block to write; an exception removes it again."""
    client, model = mlflow.MlflowClient(), None
    try:
        with uninterrupted():
            model = mlflow.initialize_logged_model(
                NAME, source_run_id=run.run_id, params=run.params
            )
        yield model
        with uninterrupted():
            client.finalize_logged_model(model.model_id, "READY")
    except BaseException:
        if model:
            with uninterrupted(), suppress(MlflowException):  # the first error is the one to tell
                client.delete_logged_model(model.model_id)
        raise


@uninterrupted()
def log_model(
    model: LoggedModel, folder: Path, metadata: Mapping[str, str], example: pd.DataFrame
) -> None:
    """Log a model folder to a model of the active run.

    MLflow's own function would load the model once more, and read each metric of the run to link
    what it has at step 0, such as the scores of the first fold, to the model.

    Args:
        model: The model, from `begin_model`.
        folder: Folder with the model in `model/`, the code that it needs in `code/`, and
            `requirements.txt`.
        metadata: Texts about the model, shown by MLflow.
        example: A few raw rows, shown by MLflow.
    """
    serving = json.loads((folder / "model" / "schema.json").read_text(encoding="utf-8"))
    signature = make_signature(
        [it["name"] for it in serving["columns"]],
        serving["label_names"],
        {it["name"] for it in serving["columns"] if it["kind"] == "text"},
    )
    run_id = str(model.source_run_id)
    repository = get_artifact_repository(model.artifact_location)
    with TemporaryDirectory() as name, _without_advice():
        path = str(Path(name) / "model")
        if isinstance(repository, LocalArtifactRepository):  # else written here, then sent
            path = repository.artifact_dir
        mlflow.pyfunc.save_model(
            path,
            mlflow_model=Model(
                artifact_path=model.artifact_location,
                run_id=run_id,
                model_id=model.model_id,
                model_uuid=model.model_id,
                metadata=dict(metadata),
            ),
            input_example=example,
            python_model=str(PYFUNC_MODEL),
            artifacts={"model": str(folder / "model")},
            code_paths=[str(path) for path in sorted((folder / "code").iterdir())],
            signature=signature,
            pip_requirements=(folder / "requirements.txt").read_text().split(),
        )
        if not isinstance(repository, LocalArtifactRepository):
            repository.log_artifacts(path)  # type: ignore[no-untyped-call]
    output = LoggedModelOutput(model.model_id, step=0)
    mlflow.MlflowClient().log_outputs(run_id, [output])


def check_model(folder: Path, rows: pd.DataFrame, y_score: NDArray[np.floating]) -> ServedModel:
    """Load a model folder and compare its probabilities with those of the trained model.

    Args:
        folder: As of `log_model`.
        rows: Raw rows.
        y_score: Probabilities of the trained model for them, of shape (n_rows, n_labels).

    Returns:
        The loaded model.

    Raises:
        UserError: If they differ.
    """
    served = ServedModel()
    served.load(folder / "model")
    difference = np.abs(served.predict(None, rows).to_numpy() - y_score).max(initial=0)
    if not difference <= TOLERANCE:
        raise UserError(
            "model: expected a model that predicts the same after it is saved and loaded. "
            f"Received: probabilities that differ by {difference:.2g}. Check get_config and the "
            "saved state of its own layers."
        )
    return served


_checked_code: set[str] = set()  # digests of code that another process has loaded


def check_code(folder: Path) -> None:
    """Load a model folder in a process that has only the code in the folder, once for each code.

    Raises:
        UserError: If it cannot be loaded, as it needs modules of the user that are not there.
    """
    sha = sha256()
    for path in sorted((folder / "code").rglob("*.py")):
        sha.update(path.read_bytes())
    if sha.hexdigest() in _checked_code:
        return
    script = (
        "import runpy, sys, pathlib; "
        "runpy.run_path(sys.argv[1])['ServedModel']().load(pathlib.Path(sys.argv[2]))"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, str(PYFUNC_MODEL), str(folder / "model")],
        cwd=folder / "model",
        env={**os.environ, "PYTHONPATH": str(folder / "code")},
        capture_output=True,
        text=True,
    )
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(
            "model: expected a model that another process can load with the modules that its code "
            f"imports. Received: {reason}. Import these modules by an import statement, or install "
            "them as a package."
        )
    _checked_code.add(sha.hexdigest())


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence MLflow's advice to add type hints, and pandas's about how MLflow uses it.

    The check of the requirements is left out: it reads the files of all installed packages, which
    takes up to 2 s, and would find the versions that they were read from.
    """
    name = "warn_dependency_requirement_mismatches"
    check = getattr(environment, name, None)
    setattr(environment, name, lambda requirements: None)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        setattr(environment, name, check)
