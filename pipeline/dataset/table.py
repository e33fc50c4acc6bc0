"""Tables: CSV, TSV and Parquet files, and the part that each of their columns plays.

They are not cached. Of a CSV of 440 MB, which takes 4 s to parse, a copy would cost 4 s and 410 MB
to write, and 2 s whenever it is used: to hash the file and to read and check the copy.
"""

from pathlib import Path

from pipeline.config import TableConfig
from pipeline.dataset.assemble import assemble
from pipeline.dataset.columns import (
    Columns,
    refuse_doubles,
    refuse_overlap,
    refuse_unknown,
    select,
)
from pipeline.dataset.csv_file import CsvFile
from pipeline.dataset.files import readable
from pipeline.dataset.parquet_file import ParquetFile
from pipeline.dataset.record import Dataset
from pipeline.errors import UserError, choices

_ENDINGS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".parquet": "parquet", ".pq": "parquet"}
_SEPARATORS = {"csv": ",", "tsv": "\t"}


def read_table(config: TableConfig) -> Dataset:
    """Return the table of a CSV, TSV or Parquet file.

    Raises:
        UserError: If the file cannot be read, a column that is asked for does not exist, or a value
            cannot be what its column should hold; named by column and row.
    """
    path = readable(config.path)
    kind = config.format or _kind(path)
    name = config.name or path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    if kind == "parquet":
        parquet = ParquetFile(path)
        columns = _parts(config, parquet.names)
        return parquet.refusing(
            lambda: assemble(name, str(path), columns, lambda: parquet.batches(columns))
        )
    csv = CsvFile(
        path,
        separator=config.separator or _SEPARATORS[kind],
        decimal=config.decimal,
        encoding=config.encoding,
        header=config.header,
        missing=config.missing,
    )
    columns = _parts(config, csv.names)
    return csv.refusing(
        lambda: assemble(name, str(path), columns, lambda: csv.batches(columns)),
        lambda: assemble(name, str(path), columns, lambda: csv.whole(columns)),
    )


def _kind(path: Path) -> str:
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending not in _ENDINGS:
        raise UserError(
            f"{path}: expected a file that ends in {', '.join(_ENDINGS)} (or .gz behind it). "
            f"Received: {ending or 'no ending'!r}. Say what it is: dataset.format=csv"
        )
    return _ENDINGS[ending]


def _parts(config: TableConfig, names: list[str]) -> Columns:
    """Return the part of each column; the features are those asked for, or the rest."""
    source = config.path
    refuse_doubles(source, names)
    single = {key: getattr(config, key) for key in ("label_list", "group", "fold", "id")}
    parts: dict[str, tuple[str, ...]] = {
        key: (name,) for key, name in single.items() if name is not None
    }
    for key, found in parts.items():
        refuse_unknown(source, key, found[0], names)
    parts["drop"] = select(source, "drop", config.drop, names)
    parts["labels"] = _labels(config, names, {name for part in parts.values() for name in part})
    refuse_overlap(source, parts)
    features = _features(config, names, parts)
    declared = {
        key: select(source, key, getattr(config, key), names) for key in ("categorical", "numeric")
    }
    refuse_overlap(source, declared)
    return Columns(
        features=features,
        labels=parts["labels"],
        label_list=config.label_list,
        label_separator=config.label_separator,
        categorical=frozenset(declared["categorical"]),
        numeric=frozenset(declared["numeric"]),
        group=config.group,
        fold=config.fold,
        id=config.id,
    )


def _features(
    config: TableConfig, names: list[str], parts: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    taken = {name for part in parts.values() for name in part}
    asked: tuple[str, ...] = tuple(names)
    if config.features is not None:
        asked = select(config.path, "features", config.features, names)
        others = {key: part for key, part in parts.items() if key != "drop"}
        refuse_overlap(config.path, {**others, "features": set(config.features) & set(names)})
    features = tuple(name for name in asked if name not in taken)
    for index in {"", "Unnamed: 0", "__index_level_0__"} & set(features):
        if config.features is None or index not in config.features:
            raise UserError(
                f"{config.path}: expected a name for each column. Received: {index!r} for column "
                f"{names.index(index)} (the first is 0); a row number that pandas wrote? Leave it "
                f"out: 'dataset.drop=[\"{index}\"]'"
            )
    if not features:
        raise UserError(
            f"{config.path}: expected at least one feature. Received: no column beside labels, "
            f"group, id and drop. {choices('', names)}"
        )
    return features


def _labels(config: TableConfig, names: list[str], taken: set[str]) -> tuple[str, ...]:
    ways = {
        "dataset.labels": config.labels,
        "dataset.last_labels": config.last_labels,
        "dataset.label_list": config.label_list,
    }
    given = [key for key, value in ways.items() if value is not None]
    if len(given) != 1:
        raise UserError(
            f"{config.path}: expected one of {', '.join(ways)}. Received: "
            f"{' and '.join(given) or 'none of them'}. "
            f"{choices('', names) if not given else 'Leave the others null.'}"
        )
    if config.labels is not None:
        return select(config.path, "labels", config.labels, names)
    if config.last_labels is None:
        return ()
    left = [name for name in names if name not in taken]
    if config.last_labels >= len(left):
        raise UserError(
            f"{config.path}: expected dataset.last_labels below the number of columns, {len(left)}."
            f" Received: {config.last_labels}."
        )
    return tuple(left[-config.last_labels :])
