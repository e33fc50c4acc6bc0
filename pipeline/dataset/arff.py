"""Read ARFF files of MULAN and MEKA, and plain ones with configured labels.

MULAN names the labels in an XML file beside the ARFF file. MEKA writes `-C n` into the name of the
relation: the first n attributes are labels or, for a negative n, the last |n|.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ArffConfig
from pipeline.dataset.arff_parser import ArffTable, parse_arff
from pipeline.dataset.column_roles import (
    check_disjoint_roles,
    check_unique_names,
    select_columns,
    single_roles,
    without_dropped,
)
from pipeline.dataset.dataset import Dataset, Times
from pipeline.dataset.files import decode, find_file, read_bytes
from pipeline.dataset.label_columns import codes_to_binary, to_binary
from pipeline.dataset.label_values import UNKNOWN, LabelValues
from pipeline.dataset.matrix import encode_matrix
from pipeline.dataset.times import to_times
from pipeline.dataset.zip_archive import read_unpacked
from pipeline.errors import UserError, suggest
from pipeline.preprocessing import Column
from pipeline.preprocessing.column_values import Kind

_KIND_OF_TYPE: dict[str, Kind] = {"numeric": "number", "nominal": "category", "date": "datetime"}


def load(config: ArffConfig) -> Dataset:
    """Read an ARFF file; labels are in the order of the XML file or the ARFF file.

    The labels are `config.labels`; else those of the XML file; else those of `-C n` in the name of
    the relation.

    Raises:
        UserError: If a file cannot be read, no labels are named or one has values other than 0 and
            1, or a feature is of another kind than numeric, nominal and date.

    References:
        Tsoumakas et al., Mulan: A Java library for multi-label learning, JMLR 2011.
        Read et al., MEKA: A multi-label/multi-target extension to WEKA, JMLR 2016.
    """
    path = find_file(config.path)
    table = parse_arff(str(path), decode(path, read_unpacked(path, {".arff"})))
    labels = _label_names(config, path, table)
    return _build_dataset(config, path, table, labels)


def _weights(config: ArffConfig, path: Path, table: ArffTable) -> NDArray[np.float32] | None:
    """Return the weights of the attribute that has them, or the instance weights.

    Instance weights are not returned if they are to be ignored, or are all 1.
    """
    has_weights = config.instance_weights != "ignore" and bool((table.weights != 1).any())
    if config.weight_column is None:
        return table.weights.astype(np.float32) if has_weights else None
    if has_weights:
        raise UserError(
            f"{path}: expected one weight for each row. Received: dataset.weight_column, and "
            "instance weights such as {2}. Ignore these: dataset.instance_weights=ignore"
        )
    names = [attribute.name for attribute in table.attributes]
    column = names.index(config.weight_column)
    if table.attributes[column].kind != "numeric":
        raise UserError(
            f"{path}: expected numbers in the attribute of dataset.weight_column. Received: "
            f"{names[column]!r} of kind {table.attributes[column].kind}."
        )
    return table.values[:, column].astype(np.float32)


def _find_xml(config: ArffConfig, path: Path) -> Path | None:
    if config.xml:
        return find_file(config.xml)
    stem = _stem(path)
    shared_stem = re.sub(r"[-_](train|test)$", "", stem)  # MULAN's pairs share one XML file
    candidates = [path.with_name(f"{name}.xml") for name in (stem, shared_stem)]
    return next((xml for xml in candidates if xml.is_file()), None)


def _label_names(config: ArffConfig, path: Path, table: ArffTable) -> tuple[str, ...]:
    names = [attribute.name for attribute in table.attributes]
    if config.labels is not None:
        if config.xml:
            raise UserError(
                f"{path}: expected one source of labels. Received: both dataset.labels and "
                "dataset.xml."
            )
        return select_columns(str(path), "labels", config.labels, names)
    xml = _find_xml(config, path)
    if xml:
        labels, existing = _labels_of_xml(xml), set(names)
        for label in labels:
            if label not in existing:
                raise UserError(
                    f"{xml}: expected labels that {path.name} has as attributes. Received: "
                    f"{label!r}. {suggest(label, names)}"
                )
        return labels
    return _labels_of_relation(path, table, names)


def _labels_of_relation(path: Path, table: ArffTable, names: list[str]) -> tuple[str, ...]:
    counts = re.findall(r"(?<![^\s:])-C\s+(-?\d{1,9})(?!\d)", table.relation, re.IGNORECASE)
    if len(counts) != 1 or int(counts[0]) == 0:
        received = f"{len(counts)} such options" if len(counts) > 1 else "neither"
        raise UserError(
            f"{path}: expected an XML file beside it that names the labels, or one -C n in "
            f"the relation's name. Received: {received}, in the relation {table.relation[:60]!r}. "
            'Name the labels: "dataset.labels=[tag_*]"'
        )
    n = int(counts[0])
    if abs(n) >= len(names):
        raise UserError(
            f"{path}: expected fewer labels than attributes, {len(names)}. Received: -C {n} in the "
            "relation's name."
        )
    return tuple(names[:n] if n > 0 else names[n:])


def _labels_of_xml(xml: Path) -> tuple[str, ...]:
    content = read_bytes(xml)
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(
            f"{xml}: expected an XML file that names labels. Received: {error}"
        ) from error
    names = [node.get("name", "") for node in root.iter() if node.tag.rpartition("}")[2] == "label"]
    if not names:
        raise UserError(f"{xml}: expected <label name=...> elements. Received: none.")
    check_unique_names(str(xml), "labels", names)
    return tuple(names)


def _build_dataset(
    config: ArffConfig, path: Path, table: ArffTable, labels: tuple[str, ...]
) -> Dataset:
    names = [attribute.name for attribute in table.attributes]
    drop = select_columns(str(path), "drop", config.drop, names)
    labels = without_dropped(labels, config.labels or (), drop)
    single = single_roles(str(path), config, names)
    check_disjoint_roles(str(path), {"labels": labels, "drop": drop, **single})
    time = single["time_column"]
    column_index = {name: j for j, name in enumerate(names)}
    others = {*labels, *drop, *time, *single["weight_column"]}
    features = [name for name in names if name not in others]
    for feature in (*features, *time):
        kind = table.attributes[column_index[feature]].kind
        if kind not in _KIND_OF_TYPE:
            raise UserError(
                f"{path}: expected numeric or nominal features, or dates. Received: {feature!r} "
                f"of kind {kind}. Leave it out: dataset.drop=[{feature}]"
            )
    attributes = [table.attributes[column_index[feature]] for feature in features]
    columns = [
        Column(attribute.name, _KIND_OF_TYPE[attribute.kind], attribute.categories)
        for attribute in attributes
    ]
    label_values = LabelValues.of(config)
    values = table.values[:, [column_index[name] for name in features]]
    X, schema = encode_matrix(str(path), columns, values, ("?",))
    y = np.column_stack(
        [_encode_label(path, table, column_index[label], label_values) for label in labels]
    )
    weights = _weights(config, path, table)
    note = "instance weights count in training; ignore them: dataset.instance_weights=ignore"
    return Dataset(
        name=config.name or _stem(path),
        X=X,
        y=np.maximum(y, 0),
        label_mask=y != UNKNOWN,
        sample_weight=weights,
        notes=() if weights is None else (note,),
        schema=schema,
        label_names=labels,
        times=_read_times(path, table, column_index[time[0]]) if time else None,
        source=str(path),
        exact=schema.encode_with_exact(values, schema.exact_names)[1] if schema.exact_names else {},
    )


def _read_times(path: Path, table: ArffTable, column: int) -> Times:
    attribute = table.attributes[column]
    kind = _KIND_OF_TYPE[attribute.kind]
    if kind == "category":
        raise UserError(
            f"{path}: expected dates or numbers in the attribute of dataset.time_column. Received: "
            f"{attribute.name!r} of kind nominal."
        )
    return to_times(str(path), attribute.name, kind, table.values[:, column])


def _encode_label(
    path: Path, table: ArffTable, column: int, label_values: LabelValues
) -> NDArray[np.int8]:
    attribute, values = table.attributes[column], table.values[:, column]
    if attribute.kind == "numeric":
        return to_binary(str(path), attribute.name, values, label_values)
    if attribute.kind != "nominal":
        raise UserError(
            f"{path}: expected labels of kind {{0,1}} or numeric. Received: {attribute.name!r} of "
            f"kind {attribute.kind}."
        )
    codes = np.nan_to_num(values, nan=-1).astype(np.int64)
    return codes_to_binary(str(path), attribute.name, codes, attribute.categories, label_values)


def _stem(path: Path) -> str:
    return re.sub(r"(\.arff)?(\.gz|\.zip)?$", "", path.name, count=1)
