"""ARFF files of MULAN and MEKA, and plain ones whose labels the configuration names.

MULAN names the labels in an XML beside the file; they are mapped by name. MEKA says `-C n` in the
relation's name: the first n attributes are labels or, for a negative n, the last |n|.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ArffConfig
from pipeline.dataset.arff_parser import Arff, parse_arff
from pipeline.dataset.cache import cached
from pipeline.dataset.column_roles import check_disjoint_roles, select
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.features import narrowed
from pipeline.dataset.files import decode, read_bytes, readable
from pipeline.dataset.label_columns import codes_to_binary, to_binary
from pipeline.errors import UserError, suggest


def read_arff(config: ArffConfig) -> Dataset:
    """Return the table of an ARFF file; labels are in the order of the XML or the file.

    Its labels are those of `config.labels`; else those of the XML; else those of `-C n` in the
    relation's name.

    Raises:
        UserError: If a file cannot be read, labels are not found or have values other than 0 and 1,
            or a feature is neither numeric nor nominal.

    References:
        Tsoumakas et al., Mulan: A Java library for multi-label learning, JMLR 2011.
        Read et al., MEKA: A multi-label/multi-target extension to WEKA, JMLR 2016.
    """
    path = readable(config.path)
    content = read_bytes(path)
    xml = _xml(config, path)
    name = config.name or path.name.removesuffix(".gz").removesuffix(".arff")
    parts = (content, read_bytes(xml) if xml else b"", repr((config.labels, config.drop)).encode())

    def build() -> Dataset:
        table = parse_arff(str(path), decode(path, content))
        return _dataset(config, name, path, table, _labels(config, path, xml, table))

    return cached("arff", parts, name, str(path), build)


def _xml(config: ArffConfig, path: Path) -> Path | None:
    if config.xml:
        return readable(config.xml)
    stem = path.name.removesuffix(".gz").removesuffix(".arff")
    whole = re.sub(r"[-_](train|test)$", "", stem)  # MULAN's pairs share one XML
    beside = [path.with_name(f"{name}.xml") for name in (stem, whole)]
    found = [xml for xml in beside if xml.is_file()]
    return found[0] if found and config.labels is None else None


def _labels(config: ArffConfig, path: Path, xml: Path | None, table: Arff) -> tuple[str, ...]:
    names = [attribute.name for attribute in table.attributes]
    if config.labels is not None:
        if config.xml:
            raise UserError(
                f"{path}: expected labels from one place. Received: both dataset.labels and "
                "dataset.xml."
            )
        return select(str(path), "labels", config.labels, names)
    if xml:
        labels = _xml_labels(xml)
        for label in labels:
            if label not in names:
                raise UserError(
                    f"{xml}: expected labels that {path.name} has as attributes. Received: "
                    f"{label!r}. {suggest(label, names)}"
                )
        return labels
    return _relation_labels(path, table, names)


def _relation_labels(path: Path, table: Arff, names: list[str]) -> tuple[str, ...]:
    counts = re.findall(r"(?<!\S)-C\s+(-?\d+)", table.relation, re.IGNORECASE)
    if len(counts) != 1 or int(counts[0]) == 0:
        received = f"{len(counts)} such options" if len(counts) > 1 else "neither"
        raise UserError(
            f"{path}: expected an XML beside it that names the labels, or one -C n in the "
            f"relation's name. Received: {received}, in the relation {table.relation[:60]!r}. "
            'Name the labels: "dataset.labels=[tag_*]"'
        )
    n = int(counts[0])
    if abs(n) >= len(names):
        raise UserError(
            f"{path}: expected fewer labels than attributes, {len(names)}. Received: -C {n} in the "
            "relation's name."
        )
    return tuple(names[:n] if n > 0 else names[n:])


def _xml_labels(xml: Path) -> tuple[str, ...]:
    try:
        root = ElementTree.fromstring(read_bytes(xml))
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(
            f"{xml}: expected an XML file that names labels. Received: {error}"
        ) from error
    names = [node.get("name", "") for node in root.iter() if node.tag.rpartition("}")[2] == "label"]
    if not names:
        raise UserError(f"{xml}: expected <label name=...> elements. Received: none.")
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise UserError(f"{xml}: expected labels with different names. Received: {twice!r} twice.")
    return tuple(names)


def _dataset(
    config: ArffConfig, name: str, path: Path, table: Arff, labels: tuple[str, ...]
) -> Dataset:
    names = [attribute.name for attribute in table.attributes]
    drop = select(str(path), "drop", config.drop, names)
    check_disjoint_roles(str(path), {"labels": labels, "drop": drop})
    place = {name: j for j, name in enumerate(names)}
    features = [name for name in names if name not in {*labels, *drop}]
    for feature in features:
        kind = table.attributes[place[feature]].kind
        if kind not in {"numeric", "nominal"}:
            raise UserError(
                f"{path}: expected numeric or nominal features. Received: {feature!r} of kind "
                f"{kind}. Leave it out: dataset.drop=[{feature}]"
            )
    categories = [table.attributes[place[feature]].categories or None for feature in features]
    y = [_label(path, table, place[label]) for label in labels]
    X = table.values[:, [place[feature] for feature in features]]
    return Dataset(
        name=name,
        X=narrowed(X) if X.size else X,
        y=np.column_stack(y),
        feature_names=tuple(features),
        label_names=labels,
        categories=tuple(categories) if any(categories) else (),
        source=str(path),
    )


def _label(path: Path, table: Arff, column: int) -> NDArray[np.int8]:
    attribute, values = table.attributes[column], table.values[:, column]
    if attribute.kind == "numeric":
        return to_binary(str(path), attribute.name, values)
    if attribute.kind != "nominal":
        raise UserError(
            f"{path}: expected labels of kind {{0,1}} or numeric. Received: {attribute.name!r} of "
            f"kind {attribute.kind}."
        )
    codes = np.nan_to_num(values, nan=-1).astype(np.int64)
    used = [text if i in set(codes) else "0" for i, text in enumerate(attribute.categories)]
    return codes_to_binary(str(path), attribute.name, codes, used)
