"""Log, load and register the final model."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from hashlib import sha256
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
from pipeline.runtime import uninterrupted
from pipeline.tracking.pyfunc_model import ServedModel
from pipeline.tracking.run_reader import FINISHED, RunReader, RunRecord
from pipeline.tracking.store import FINAL_FIT, STOPPED_BECAUSE, Store
from pipeline.tracking.sweep import BEST

PYFUNC_MODEL = Path(__file__).with_name("pyfunc_model.py")
TOLERANCE = 1e-5  # of probabilities, between the model in memory and the loaded one
DATA_DIGEST = "data_digest"  # tag
CHAMPION = "champion"  # alias of the version that was promoted last


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


@uninterrupted()
def log_model(folder: Path, metadata: Mapping[str, str]) -> None:
    """Log a model folder to the active run.

    Args:
        folder: Folder with the model in `model/`, the code that it needs in `code/`, and
            `requirements.txt`.
        metadata: Texts about the model, shown by MLflow.
    """
    serving = json.loads((folder / "model" / "schema.json").read_text(encoding="utf-8"))
    any_type = AnyType()  # type: ignore[no-untyped-call] # "double" would refuse whole numbers
    signature = ModelSignature(
        Schema([ColSpec(any_type, column["name"]) for column in serving["columns"]]),
        Schema([ColSpec("double", name) for name in serving["label_names"]]),
        ParamSchema([ParamSpec("decide", "boolean", False)]),
    )
    with _no_type_hint_warnings():
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(PYFUNC_MODEL),
            artifacts={"model": str(folder / "model")},
            code_paths=[str(path) for path in sorted((folder / "code").iterdir())],
            signature=signature,
            pip_requirements=(folder / "requirements.txt").read_text().split(),
            metadata=dict(metadata),
        )


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


def promote(
    store: Store,
    run_name: str,
    model_name: str | None,
    describe_scores: Callable[[RunRecord], str],
) -> PromotedModel:
    """Register the final model of a run, or of a sweep's best run, with the alias `champion`.

    Args:
        store: Store of the run.
        run_name: Name of the run or sweep, its id, or the start of its id.
        model_name: Name of the registered model; None for that of the data set.
        describe_scores: Returns a line about the scores of a run for the description of the
            version; empty if it has none.

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
        reason = run.tags.get("failure") or run.tags.get(STOPPED_BECAUSE)
        raise UserError(
            f"Expected a finished run with a final model. Received: {run.run_id}, {run.status}, "
            f"with {len(models)} models{f': {reason}' if reason else '.'}"
        )
    name = model_name or _dataset_name(run)
    versions = client.search_model_versions(f"run_id = '{run.run_id}'")
    version = next((each.version for each in versions if each.name == name), None)
    if version is None:
        with redirect_stderr(StringIO()):  # MLflow prints each step there
            registered = mlflow.register_model(f"models:/{models[0].model_id}", name)
        version = registered.version
        facts = [describe_scores(run), f"run {run.run_id}"]
        if DATA_DIGEST in run.tags:  # only Manyfold's own runs have it
            facts.append(f"data {run.tags[DATA_DIGEST]}")
        if FINAL_FIT in run.tags:
            facts.append(run.tags[FINAL_FIT])
        client.update_model_version(name, version, "; ".join(filter(None, facts)))
    client.set_registered_model_alias(name, CHAMPION, version)
    return PromotedModel(name, str(version), run.run_id, f"models:/{name}@{CHAMPION}")


def _dataset_name(run: RunRecord) -> str:
    inputs = mlflow.MlflowClient().get_run(run.run_id).inputs
    datasets = inputs.dataset_inputs if inputs else []
    return str(datasets[0].dataset.name) if datasets else run.name


@contextmanager
def _no_type_hint_warnings() -> Iterator[None]:
    """Silence MLflow's advice to add type hints and an example; the schema is explicit."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        yield
