"""Log, load and register the final model."""

import json
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from hashlib import file_digest
from importlib.metadata import packages_distributions, version
from io import StringIO
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Run
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType
from numpy.typing import NDArray

from pipeline.config import ModelConfig, SklearnModelConfig
from pipeline.errors import UserError
from pipeline.evaluation.evaluator import Evaluation, FinalModel
from pipeline.preprocessing import NO_COLUMN
from pipeline.tracking.pyfunc_model import canonical
from pipeline.tracking.runs import RunReader
from pipeline.tracking.store import Store
from pipeline.tracking.sweep_run import BEST

SERVED_MODEL = Path(__file__).with_name("pyfunc_model.py")
NEEDS = ("mlflow", "numpy", "pandas")
NEEDS_OF_NETWORKS = ("keras", "tensorflow")
NEEDS_OF_ESTIMATORS = ("scikit-learn", "skops")


def log_model(evaluation: Evaluation) -> str:
    """Log the final model, which there must be, to the run that is open and return its URI."""
    dataset, final = evaluation.dataset, evaluation.final
    if final is None:
        raise ValueError("Expected a final model. Received: an evaluation of some folds alone.")
    anything = AnyType()  # type: ignore[no-untyped-call] # as "double" refuses whole numbers
    signature = ModelSignature(
        Schema([ColSpec(anything, name) for name in dataset.feature_names]),
        Schema([ColSpec("double", name) for name in dataset.label_names]),
        ParamSchema([ParamSpec("decide", "boolean", False)]),
    )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # MLflow would like type hints and an example for the schema that is given explicitly.
        warnings.simplefilter("ignore", UserWarning)
        path, trusted, needs = _save(evaluation.config.model, final, Path(folder))
        served = {**_served(evaluation, final), **trusted}
        files = {"model": str(path), "preparation": f"{folder}/preparation.json"}
        Path(files["preparation"]).write_text(json.dumps(served), encoding="utf-8")
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SERVED_MODEL),
            artifacts=files,
            code_paths=_own_code(evaluation.config.model),
            signature=signature,
            pip_requirements=[f"{package}=={version(package)}" for package in needs],
        )
    return str(info.model_uri)


def _save(
    config: ModelConfig, final: FinalModel, folder: Path
) -> tuple[Path, dict[str, Any], list[str]]:
    """Save the model; return its file, what its reader may trust, and the packages it needs."""
    if not isinstance(config, SklearnModelConfig):
        path = folder / "model.keras"
        final.model.save(path)
        return path, {}, [*NEEDS, *NEEDS_OF_NETWORKS]
    from pipeline.model.skops_file import own_packages, save

    path = folder / "model.skops"
    own = own_packages(config)
    trusted = save(final.model, path, own)
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    needs = [*NEEDS, *NEEDS_OF_ESTIMATORS]
    if own and _own_code(config) is None:  # installed: it is required, not copied
        homes = packages_distributions()
        needs += [home for package in own for home in homes.get(package, [])[:1]]
    return path, {"trusted": trusted, "digest": digest}, sorted(needs)


def _own_code(config: ModelConfig) -> list[str] | None:
    """Return the file or package that defines the user's own model, to travel with it."""
    own = config.own_path
    if own is None:
        return None
    top = own.partition(".")[0]
    found = sys.modules[top].__file__ if top in sys.modules else None
    if found is None or "site-packages" in found:
        return None
    path = Path(found)
    return [str(path.parent if path.name == "__init__.py" else path)]


def _served(evaluation: Evaluation, final: FinalModel) -> dict[str, Any]:
    """Return what `pyfunc_model.py` has to know, as plain values."""
    dataset, preparation = evaluation.dataset, final.preparation
    names = np.array(dataset.feature_names, dtype=object)
    categories = {
        names[feature]: {
            text: int(column)
            for category, column in zip(dataset.categories[feature] or (), columns, strict=True)
            for text in _spellings(category, dataset.categories[feature] or ())
            if column != NO_COLUMN
        }
        for feature, columns in zip(preparation.categorical, preparation.columns, strict=True)
    }
    own = evaluation.config.model.own_path
    return {
        "label_names": list(dataset.label_names),
        "temperature": final.rule.temperature.tolist(),
        "threshold": final.rule.threshold.tolist(),
        "numeric": {
            "names": names[preparation.numeric].tolist(),
            "fill": preparation.fill.tolist(),
            "center": preparation.center.tolist(),
            "scale": preparation.scale.tolist(),
            "indicators": preparation.indicators.tolist(),
        },
        "categories": categories,
        "n_category_columns": preparation.n_category_columns,
        "modules": [own.rpartition(".")[0]] if own else [],
    }


def _spellings(category: str, known: Sequence[str]) -> set[str]:
    """Return a category as it stood and, unless another could be meant, its canonical spelling."""
    spelling = canonical(category)
    alone = sum(canonical(other) == spelling for other in known) == 1
    return {category, spelling} if alone else {category}


def predict_rows(
    model_uri: str, feature_names: Sequence[str], rows: Sequence[Sequence[float | str | None]]
) -> NDArray[np.float64]:
    """Return the probabilities of a logged model for raw rows.

    Args:
        model_uri: Any URI that MLflow can load.
        feature_names: Name of each column of `rows`.
        rows: Raw features of shape (n_rows, n_features): numbers, texts of categories, None.

    Returns:
        Probabilities of shape (n_rows, n_labels).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # type hints again
        model = mlflow.pyfunc.load_model(model_uri)
    answer = model.predict(pd.DataFrame(rows, columns=list(feature_names)))
    return np.asarray(answer, dtype=np.float64)


CHAMPION = "champion"  # the alias of the version that was promoted last


@dataclass(frozen=True)
class Promoted:
    """A version of a registered model.

    Attributes:
        name: Of the registered model.
        version: Its number.
        run_id: Of the run that trained it.
        uri: Under which `mlflow.pyfunc.load_model` finds it, until another is promoted.
    """

    name: str
    version: str
    run_id: str
    uri: str


def promote(store: Store, asked: str, name: str | None) -> Promoted:
    """Register the final model of a run, or of the best run of a sweep, and call it the champion.

    Args:
        store: Where the run is.
        asked: Name of the run or of the sweep, its id, or the start of its id.
        name: Of the registered model; None: that of the data set.

    Raises:
        UserError: If there is no such run, or it has no final model.
    """
    reader = RunReader(store)
    mlflow.set_tracking_uri(store.uri)
    client = mlflow.MlflowClient()
    run = reader.one(asked)
    if "is_sweep" in run.data.tags:
        best = run.data.tags.get(BEST)
        if best is None:
            raise UserError(
                "Expected a sweep with a finished job. Received: "
                f"{run.info.run_id}, which has none."
            )
        run = reader.one(best)
    run_id = run.info.run_id
    mine = f"source_run_id = '{run_id}'"
    models = client.search_logged_models([run.info.experiment_id], filter_string=mine)
    if run.info.status != "FINISHED" or not models:
        why = run.data.tags.get("failure") or run.data.tags.get("stopped_because")
        raise UserError(
            f"Expected a finished run with a final model. Received: {run_id}, {run.info.status}, "
            f"with {len(models)} models{f': {why}' if why else '.'}"
        )
    used = run.inputs.dataset_inputs if run.inputs else []
    name = name or (used[0].dataset.name if used else run.info.run_name)
    known = client.search_model_versions(f"run_id = '{run_id}'")
    version = next((it.version for it in known if it.name == name), None)
    if version is None:
        with redirect_stderr(StringIO()):  # it tells of its steps there
            made = mlflow.register_model(f"models:/{models[0].model_id}", name)
        version = made.version
        client.update_model_version(name, version, _description(run))
    client.set_registered_model_alias(name, CHAMPION, version)
    return Promoted(name, str(version), run_id, f"models:/{name}@{CHAMPION}")


def _description(run: Run) -> str:
    """Return what the registry is to say of the model: how good it is, and on what."""
    tags, metrics = run.data.tags, run.data.metrics
    headline = tags.get("headline", "")
    told = [f"{of}: {_get(metrics, f'{headline}_{of}')}" for of in ("mean", "std")]
    told += [f"95% interval: {_get(metrics, f'{headline}_ci_low')} to "]
    told[-1] += _get(metrics, f"{headline}_ci_high")
    return f"{headline} ({', '.join(told)}); run {run.info.run_id}; data {tags['data_digest']}"


def _get(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.3f}" if name in metrics else "undefined"
