"""MULAN's files: a dense numeric ARFF, and an XML beside it that names the labels."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import arff
import numpy as np
from numpy.typing import NDArray

from pipeline.config import ArffConfig
from pipeline.dataset.record import MAX_SHOWN, Dataset
from pipeline.errors import UserError, choices

_POSITIVE = {"1", "1.0"}
_NEGATIVE = {"0", "0.0"}


def read_arff(config: ArffConfig) -> Dataset:
    """Return the table of an ARFF file; labels are mapped by name, in the order of the XML.

    Raises:
        UserError: If a file is missing or cannot be read, the XML names a label that the ARFF
            lacks, a label has values other than 0 and 1, or a feature is not numeric.

    References:
        Tsoumakas et al., Mulan: A Java library for multi-label learning, JMLR 2011.
    """
    path = Path(config.path)
    xml = Path(config.xml) if config.xml else path.with_suffix(".xml")
    content = _parse(path)
    names = [name for name, _ in content["attributes"]]
    label_names = _label_names(xml)
    for label in label_names:
        if label not in names:
            raise UserError(
                f"{xml.name}: expected labels that {path.name} has as attributes. Received: "
                f"{label!r}. {choices(label, names[-MAX_SHOWN * 4 :])}"
            )
    columns = dict(zip(names, zip(*content["data"], strict=True), strict=True))
    feature_names = [name for name in names if name not in set(label_names)]
    kinds = dict(content["attributes"])
    y = [_label(path, name, columns[name]) for name in label_names]
    X = [_feature(path, name, kinds[name], columns[name]) for name in feature_names]
    return Dataset(
        name=path.stem,
        X=np.column_stack(X) if X else np.empty((0, 0)),
        y=np.column_stack(y) if y else np.empty((0, 0), dtype=np.int8),
        feature_names=tuple(feature_names),
        label_names=tuple(label_names),
    )


def _parse(path: Path) -> dict[str, Any]:
    text = _read_text(path)
    try:
        content: dict[str, Any] = arff.loads(text)
    except arff.ArffException as error:
        raise UserError(f"{path}: expected a dense ARFF file. Received: {error}") from error
    if not content["data"]:
        raise UserError(f"{path}: expected at least one row behind @DATA. Received: none.")
    return content


def _read_text(path: Path) -> str:
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "no such file"
        raise UserError(f"{path}: expected a file. Received: {kind}.")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a readable UTF-8 file. Received: {error}") from error


def _label_names(xml: Path) -> list[str]:
    try:
        root = ElementTree.fromstring(_read_text(xml))
    except ElementTree.ParseError as error:
        raise UserError(
            f"{xml}: expected an XML file that names labels. Received: {error}"
        ) from error
    names = [node.get("name", "") for node in root.iter() if node.tag.rpartition("}")[2] == "label"]
    if not names:
        raise UserError(f"{xml}: expected <label name=...> elements. Received: none.")
    return names


def _label(path: Path, name: str, values: tuple[object, ...]) -> NDArray[np.int8]:
    text = [f"{value}" for value in values]
    for row, value in enumerate(text):
        if value not in _POSITIVE | _NEGATIVE:
            raise UserError(
                f"{path}: expected labels of value 0 or 1. Received: {value!r} in label {name!r}, "
                f"row {row}."
            )
    return np.array([value in _POSITIVE for value in text], dtype=np.int8)


def _feature(
    path: Path, name: str, kind: str | list[str], values: tuple[object, ...]
) -> NDArray[np.float64]:
    if isinstance(kind, list) or kind.upper() not in {"NUMERIC", "REAL", "INTEGER"}:
        raise UserError(
            f"{path}: expected numeric features. Received: {name!r} of kind {str(kind)[:60]}."
        )
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
