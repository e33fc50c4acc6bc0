"""Write the folder of an exported model: the model, its schema and how to use it."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from pipeline.config import format_setting
from pipeline.errors import UserError, is_installed
from pipeline.export.examples import FILES, make_example
from pipeline.export.export_check import ExportError, check_export, make_rows
from pipeline.export.sklearn_graph import write_sklearn_onnx
from pipeline.model.loaded_model import is_trusted
from pipeline.model.saved_model import UNITS, write_code
from pipeline.prediction import ModelFolder
from pipeline.preprocessing import Column
from pipeline.preprocessing.derived_columns import DateParts
from pipeline.runtime import expand_user

PACKAGES = {
    "onnx": ("onnx", "onnxruntime", "skl2onnx", "tf2onnx"),
    "litert": ("ai_edge_litert",),
}
"""Modules of the extra of the same name, which a format needs."""
RUNTIMES = {
    "onnx": ("numpy", "onnxruntime"),
    "saved_model": ("numpy", "tensorflow"),
    "litert": ("numpy", "ai-edge-litert"),
    "skops": ("numpy", "scikit-learn", "skops"),
}
EXPECTED_FOLDER = "FOLDER: expected a new or an empty folder"
OF_NETWORKS = ("onnx", "saved_model", "litert")
OF_PIPELINES = ("onnx", "skops")
OF_SKOPS = ("trusted", "digest", "modules")  # keys of `schema.json` about the stored file
MAX_COLUMNS = 200  # that the text lists
MAX_CATEGORIES = 20
MAX_NUMBERS = 40  # of a row in the example


def check_packages(export_format: str) -> None:
    """Raise UserError if a package that a format needs is missing."""
    missing = [name for name in PACKAGES.get(export_format, ()) if not is_installed(name)]
    if missing:
        raise UserError(
            f"--format {export_format}: expected the packages of the extra {export_format}. "
            f"Received: no {', '.join(missing)}. Install them: "
            f"pip install 'manyfold[{export_format}]'"
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Raise UserError if the folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{EXPECTED_FOLDER} that can be written. Received: {path} ({error})."
        ) from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside a path, and rename it to the path after the block.

    Raises:
        UserError: If the path is something else than a new or an empty folder, or it cannot be
            written.
    """
    path = expand_user(str(path)).resolve()
    expected = EXPECTED_FOLDER
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        received = "one with files in it" if path.is_dir() else "a file"
        raise UserError(f"{expected}. Received: {path}, {received}.")
    if path == Path.cwd():
        raise UserError(f"{expected} other than the working directory. Received: {path}.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _explained(path):
            temporary.mkdir(parents=True)
        yield temporary
        with _explained(path):
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def export_model(
    model: ModelFolder,
    export_format: str,
    folder: Path,
    *,
    name: str,
    thresholds: NDArray[np.float64],
) -> float:
    """Write a model into an empty folder, and check that it predicts the same.

    Args:
        model: The model.
        export_format: Name of the format.
        folder: The folder.
        name: Name of the model.
        thresholds: Threshold of each label, of shape (n_labels,).

    Returns:
        The largest difference between probabilities of the exported model and of the model.

    Raises:
        UserError: If the format does not suit the model.
        ExportError: If the exported model cannot be loaded, or predicts other probabilities.
    """
    if trees := model.model.serving.get("trees"):
        raise UserError(
            "--format: expected a network or a model of scikit-learn. Received: gradient-boosted "
            f"trees, which their own library reads from {model.path / next(iter(trees))}, for "
            "preprocessed rows."
        )
    is_network = "trusted" not in model.model.serving
    formats = OF_NETWORKS if is_network else OF_PIPELINES
    if export_format not in formats:
        title = "a network" if is_network else "a scikit-learn model"
        raise UserError(
            f"--format: expected one of {', '.join(formats)} for {title}. Received: "
            f"{export_format}."
        )
    if texts := model.model.schema.texts:
        raise UserError(
            "--format: expected a model without columns of texts, as no format counts words. "
            f"Received: one with {', '.join(texts)}. Predict with manyfold predict or serve, or "
            f"train without them: {format_setting('dataset.drop', list(texts))}"
        )
    schema = {**model.model.serving, "threshold": thresholds.tolist()}
    path = folder / FILES[export_format]
    if export_format == "skops":
        shutil.copyfile(model.path / "model.skops", path)
        _copy_code(model, folder / "code")
    else:
        schema = {key: value for key, value in schema.items() if key not in OF_SKOPS}
        schema["is_calibrated"] = True
        if is_network:
            getattr(_keras_formats(), f"write_{export_format}")(model.model, path)
        else:
            write_sklearn_onnx(model.model, path)
    (folder / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    X = make_rows(model)
    try:
        difference = check_export(folder, export_format, X, model)
    except ExportError as error:
        other = "saved_model" if is_network else "skops"
        hint = f" Use --format {other}." if export_format != other else ""
        raise ExportError(f"{error}{hint}") from error
    text = _format_readme(schema, model, export_format, name, X, difference)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return difference


def list_limits(export_format: str, schema: Mapping[str, Any]) -> list[str]:
    """Return sentences about what a format does not hold."""
    file = FILES[export_format]
    limits = [
        f"{file} takes numbers: texts, dates and categories have to be encoded before, as "
        "README.md and schema.json say.",
        f"{file} predicts probabilities: the thresholds of the labels are in schema.json.",
    ]
    if export_format == "skops":
        limits.append(f"{file} needs the Python classes in code/.")
        if any(it != 1 for it in schema["temperature"]):
            limits.append(f"{file} does not calibrate: the temperatures are in schema.json.")
    return limits


def _copy_code(model: ModelFolder, folder: Path) -> None:
    """Copy the modules of Manyfold, and those of the user if the model needs them."""
    write_code(folder, {})
    if all(map(is_trusted, model.model.serving["trusted"])):
        return
    for code in (model.path.parent / "code", model.path.parent.parent / "code"):
        if (code / "pipeline").is_dir():
            ignored = shutil.ignore_patterns("pipeline", "__pycache__")
            shutil.copytree(code, folder, ignore=ignored, dirs_exist_ok=True)


def _format_readme(
    schema: Mapping[str, Any],
    model: ModelFolder,
    export_format: str,
    name: str,
    X: NDArray[np.float32],
    difference: float,
) -> str:
    """Return the text that says how to use the exported model."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown; texts of the data are in blocks of code, as JSON
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["json"] = lambda text: json.dumps(text, ensure_ascii=False)
    table = model.model.schema
    columns = [(it.name, _describe(it)) for it in table.columns]
    for derived in table.derived:
        assert isinstance(derived, DateParts)  # as texts are refused
        columns += zip(derived.names, derived.describe(), strict=True)
    return environment.get_template("readme.md.jinja").render(
        schema=schema,
        name=name,
        file=FILES[export_format],
        limits=list_limits(export_format, schema),
        columns=columns[:MAX_COLUMNS],
        n_features=len(columns),
        requires_complete_rows=schema["requires_complete_rows"],
        is_inside=export_format != "skops",
        requirements=[f"{it}=={version(it)}" for it in RUNTIMES[export_format]],
        example=make_example(export_format, _format_row(X[0])),
        n_checked=len(X),
        difference=difference,
    )


def _describe(column: Column) -> str:
    """Return the encoding of a column's values."""
    if column.kind == "category":
        shown = column.categories[:MAX_CATEGORIES]
        codes = [f"{code} {json.dumps(it, ensure_ascii=False)}" for code, it in enumerate(shown)]
        more = f" and {len(column.categories) - len(shown)} more" * (
            len(shown) < len(column.categories)
        )
        return f"code of the category: {', '.join(codes)}{more}; NaN for any other"
    offset = f", less {column.offset!r}" if column.offset else ""
    return f"{UNITS.get(column.kind, 'number')}{offset}"


def _format_row(row: NDArray[np.float32]) -> str:
    """Return a row as Python code; one of zeros if it has many numbers."""
    if len(row) > MAX_NUMBERS:
        return f"np.zeros((1, {len(row)}), dtype=np.float32)"
    numbers = ["np.nan" if np.isnan(number) else f"{number:.9g}" for number in row]
    return f"np.array([[{', '.join(numbers)}]], dtype=np.float32)"


def _keras_formats() -> Any:
    """Import TensorFlow, when a network is exported."""
    from pipeline.export import keras_formats

    return keras_formats
