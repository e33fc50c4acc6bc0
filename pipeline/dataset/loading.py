"""Load the data set of a configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ArffConfig, DatasetConfig, TableConfig, format_setting
from pipeline.dataset.dataset import MAX_SHOWN, TEST, TRAIN, Dataset, Times, constant_labels
from pipeline.dataset.duplicate_rows import first_rows, labels_differ
from pipeline.dataset.mapped_files import make_matrix
from pipeline.dataset.matrix import sample_rows, with_offsets
from pipeline.dataset.suspicious_columns import find_row_ids, find_suspicious_columns
from pipeline.errors import UserError
from pipeline.matrix_blocks import row_blocks
from pipeline.preprocessing import TableSchema


def load(config: DatasetConfig) -> Dataset:
    """Load the data set of a configuration.

    Raises:
        UserError: If it cannot be read or is not a multi-label table.
    """
    if isinstance(config, TableConfig | ArffConfig) and config.test_path:
        dataset = _read_pair(config, config.test_path)
    else:
        dataset = _read(config)
    if config.drop_duplicates:
        dataset = drop_duplicates(dataset)
    _check_labels_given(config, dataset)
    return _add_warnings(config, dataset)


def drop_duplicates(dataset: Dataset) -> Dataset:
    """Return a data set without rows that have the features of a previous row.

    With a predefined split, a test row that is in the training rows is such a row.
    """
    first = first_rows(dataset.X)
    kept = np.unique(first)
    dropped = np.setdiff1d(np.arange(len(first)), kept)
    if not len(dropped):
        return dataset
    n_conflicting = int(labels_differ(dataset, first[dropped], dropped).sum())
    arrays: dict[str, Any] = {
        name: None if (values := getattr(dataset, name)) is None else values[kept]
        for name in ("y", "groups", "fold", "ids", "times", "label_mask", "sample_weight")
    }
    text = (
        f"dataset.drop_duplicates dropped {len(dropped)} rows with the features of a previous row, "
        f"{n_conflicting} of them with other labels"
    )
    warnings = tuple(it for it in dataset.warnings if it not in constant_labels(dataset))
    shape = len(kept), dataset.n_features
    blocks = (dataset.X[kept[rows]] for rows in row_blocks(*shape))
    arrays["X"] = make_matrix(dataset.X, shape, blocks)
    arrays["exact"] = {name: values[kept] for name, values in dataset.exact.items()}
    return replace(dataset, **arrays, warnings=(*warnings, text))


def _check_labels_given(config: DatasetConfig, dataset: Dataset) -> None:
    """Raise UserError if a label is not known in any row, so that nothing can be learnt of it."""
    if dataset.label_mask is None:
        return
    unknown = [dataset.label_names[label] for label in np.flatnonzero(~dataset.label_mask.any(0))]
    if unknown:
        setting = format_setting("dataset.drop", unknown[:MAX_SHOWN])
        way = f": {setting}" if hasattr(config, "drop") else "."
        raise UserError(
            f"{dataset.source or dataset.name}: expected labels that are known in at least one "
            f"row. Received: {', '.join(map(repr, unknown[:MAX_SHOWN]))}"
            f"{f' and {len(unknown) - MAX_SHOWN} more' * (len(unknown) > MAX_SHOWN)}, known in "
            f"none. Leave them out{way}"
        )


def _add_warnings(config: DatasetConfig, dataset: Dataset) -> Dataset:
    """Return the data set with warnings of columns, of which ids have not many categories."""
    warnings = find_suspicious_columns(config, dataset)
    ids = find_row_ids(config, dataset) if dataset.warnings else []
    if not (warnings or ids):
        return dataset
    starts = [text.partition(" looks like")[0] for text in warnings]
    starts = [f"{start} has " for start in [*starts, *(f"feature {name!r}" for name in ids)]]
    kept = [text for text in dataset.warnings if not text.startswith(tuple(starts))]
    return replace(dataset, warnings=(*kept, *warnings))


def _read_pair(config: TableConfig | ArffConfig, test_path: str) -> Dataset:
    if isinstance(config, TableConfig) and (config.fold_column or config.group_column):
        raise UserError(
            "dataset.test_path: expected neither dataset.fold_column nor dataset.group_column "
            "beside it, because the two files are the split. Received: "
            f"{config.fold_column or config.group_column!r}."
        )
    train = _read(replace(config, test_path=None))
    test_config = replace(config, path=test_path, test_path=None)
    if isinstance(test_config, TableConfig):  # numbers and dates are read as those of the training
        test_config = replace(test_config, decimal="," if train.schema.decimal == "," else ".")
        test = _read(test_config, formats=train.schema.formats)
    else:
        test = _read(test_config)
    lists_labels = isinstance(config, TableConfig) and bool(config.label_list_column)
    return join(train, test, may_lack_labels=lists_labels)


def _read(config: DatasetConfig, **options: Mapping[str, str]) -> Dataset:
    """Load with the module that is named like the kind; the others' libraries are not imported."""
    dataset: Dataset = import_module(f"pipeline.dataset.{config.kind}").load(config, **options)
    return dataset


def join(train: Dataset, test: Dataset, *, may_lack_labels: bool = False) -> Dataset:
    """Join training and test rows to one data set with a predefined split.

    Args:
        train: Rows to train on.
        test: Rows to test on, with the same columns in any order.
        may_lack_labels: Accept labels that only one of them has, as no row of the other has them.

    Raises:
        UserError: If features or labels differ, a feature is numeric in one of them only, or a row
            is in both by its id.
    """
    where = f"{train.source or train.name} and {test.source or test.name}"
    _check_same_columns(where, "features", train.feature_names, test.feature_names)
    if not may_lack_labels:
        _check_same_columns(where, "labels", train.label_names, test.label_names)
    _check_same_reading(where, train, test)
    test = _reorder_features(test, train.feature_names)
    parts = (train, test)
    typed = [
        [
            f"{column.name} as {column.kind} {column.format}".rstrip()
            for column in part.schema.columns
        ]
        for part in parts
    ]
    _check_same_columns(where, "kinds of features", *typed)
    label_names = tuple(dict.fromkeys([*train.label_names, *test.label_names]))
    X, schema = _join_features(where, train, test)
    return replace(
        train,
        X=X,
        y=np.concatenate([_reorder_labels(part.y, part, label_names) for part in parts]),
        label_mask=_join_masks(parts, label_names),
        sample_weight=_join_weights(parts),
        schema=schema,
        label_names=label_names,
        ids=_join_ids(where, train, test),
        times=_join_times(where, train, test),
        warnings=tuple(
            dict.fromkeys(
                it for part in parts for it in part.warnings if it not in constant_labels(part)
            )
        ),
        notes=tuple(dict.fromkeys([*train.notes, *test.notes])),
        exact={
            name: np.concatenate([values, test.exact[name]]) for name, values in train.exact.items()
        },
        fold=np.repeat([TRAIN, TEST], [train.n_samples, test.n_samples]),
    )


def _check_same_columns(where: str, kind: str, one: Sequence[str], other: Sequence[str]) -> None:
    differing = sorted(set(one) ^ set(other))
    if differing:
        raise UserError(
            f"{where}: expected the same {kind} in train and test. Received: in one of them only: "
            f"{', '.join(differing[:5])}."
        )


def _check_same_reading(where: str, train: Dataset, test: Dataset) -> None:
    """Raise UserError if the labels of train and test are listed between different separators."""
    readings = [
        {note.rpartition(":")[0] for note in part.notes if "separated by" in note}
        for part in (train, test)
    ]
    if all(readings) and readings[0] != readings[1]:
        raise UserError(
            f"{where}: expected labels listed in the same way. Received: "
            f"{' and '.join(next(iter(reading)) for reading in readings)}. Give "
            "dataset.label_separator."
        )


def _reorder_features(part: Dataset, feature_names: tuple[str, ...]) -> Dataset:
    if part.feature_names == feature_names:
        return part
    indices = [part.feature_names.index(name) for name in feature_names]
    columns = tuple(part.schema.columns[index] for index in indices)
    blocks = (part.X[rows][:, indices] for rows in row_blocks(*part.X.shape))
    X = make_matrix(part.X, part.X.shape, blocks)
    return replace(part, X=X, schema=replace(part.schema, columns=columns))


def _reorder_labels(
    values: NDArray[Any], part: Dataset, label_names: tuple[str, ...]
) -> NDArray[Any]:
    reordered = np.zeros((part.n_samples, len(label_names)), dtype=values.dtype)
    reordered[:, [label_names.index(name) for name in part.label_names]] = values
    return reordered


def _join_masks(parts: Sequence[Dataset], label_names: tuple[str, ...]) -> NDArray[np.bool_] | None:
    if all(part.label_mask is None for part in parts):
        return None
    masks = [
        np.ones(part.y.shape, dtype=bool) if part.label_mask is None else part.label_mask
        for part in parts
    ]
    pairs = zip(masks, parts, strict=True)
    return np.concatenate([_reorder_labels(mask, part, label_names) for mask, part in pairs])


def _join_weights(parts: Sequence[Dataset]) -> NDArray[np.float32] | None:
    if all(part.sample_weight is None for part in parts):
        return None
    return np.concatenate(
        [
            np.ones(part.n_samples, dtype=np.float32)
            if part.sample_weight is None  # an ARFF file without instance weights
            else part.sample_weight
            for part in parts
        ]
    )


def _join_ids(where: str, train: Dataset, test: Dataset) -> NDArray[np.str_] | None:
    if train.ids is None or test.ids is None:
        return None
    in_both = np.intersect1d(train.ids, test.ids)
    if len(in_both):
        raise UserError(
            f"{where}: expected each row in one of them. Received: {len(in_both)} in both, such as "
            f"'{in_both[0]}'."
        )
    return np.concatenate([train.ids, test.ids])


def _join_times(where: str, train: Dataset, test: Dataset) -> Times | None:
    if train.times is None or test.times is None:
        return None
    dtypes = {times.dtype.kind.replace("i", "f") for times in (train.times, test.times)}
    if len(dtypes) > 1:
        raise UserError(
            f"{where}: expected times of one kind. Received: {train.times.dtype} and "
            f"{test.times.dtype}."
        )
    return np.concatenate([train.times, test.times])


def _join_features(
    where: str, train: Dataset, test: Dataset
) -> tuple[NDArray[np.float32], TableSchema]:
    """Return all features with the categories and offsets of both parts, and their schema."""
    columns, new_codes = [], [dict[int, NDArray[np.float64]](), {}]
    texts = dict[int, NDArray[np.int64]]()
    for feature, pair in enumerate(zip(train.schema.columns, test.schema.columns, strict=True)):
        categories = tuple(sorted({text for column in pair for text in column.categories}))
        columns.append(replace(pair[0], categories=categories, offset=0.0))
        if pair[0].kind == "text":  # whose codes are those of one part
            both = np.concatenate([part.exact[pair[0].name] for part in (train, test)])
            texts[feature] = np.unique(both, return_inverse=True)[1]
        code = {text: code for code, text in enumerate(categories)}
        for column, codes in zip(pair, new_codes, strict=True):
            if categories:
                codes[feature] = np.array([*(code[it] for it in column.categories), np.nan])

    def read(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        n_train = train.n_samples
        of_part = rows[rows < n_train], rows[rows >= n_train] - n_train
        values = []
        for part, numbers, codes in zip((train, test), of_part, new_codes, strict=True):
            X = part.X[numbers].astype(np.float64) + part.schema.offsets
            for feature, code in codes.items():
                X[:, feature] = code[np.nan_to_num(X[:, feature], nan=-1).astype(np.int64)]
            values.append(X)
        X = np.concatenate(values)
        for feature, text_codes in texts.items():
            X[:, feature] = np.where(np.isnan(X[:, feature]), np.nan, text_codes[rows])
        return X

    shape = train.n_samples + test.n_samples, train.n_features
    all_rows = np.arange(shape[0])
    ranges = [
        (np.fmin.reduce(X), np.fmax.reduce(X))
        for X in (read(all_rows[rows]) for rows in row_blocks(*shape))
    ]
    low, high = np.fmin.reduce([it for it, _ in ranges]), np.fmax.reduce([it for _, it in ranges])
    columns = with_offsets(where, columns, read(all_rows[sample_rows(shape[0])]), low, high)
    schema = TableSchema(tuple(columns), train.schema.na_values, train.schema.decimal)
    blocks = (schema.encode(read(all_rows[rows])) for rows in row_blocks(*shape))
    source = test.X if isinstance(test.X, np.memmap) else train.X
    return make_matrix(source, shape, blocks), schema
