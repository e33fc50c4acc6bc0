"""Dataclasses of the groups `dataset` and `cv`."""

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, NonNegativeInt, PlainValidator, PositiveInt
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Name = Annotated[str, Field(min_length=1)]
Value = float | str | None  # a number, a category as text, or a missing value
_Rows = tuple[tuple[Value, ...], ...]
TableFormat = Literal["csv", "tsv", "parquet", "feather", "jsonl", "excel"]
_LabelValues = tuple[bool | int | float | str | None, ...]
_Columns = tuple[str, ...]  # names, or shell patterns such as tag_*


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _Dataset:
    kind: str
    name: Name | None
    predict_rows: _Rows
    drop_duplicates: bool
    missing_labels: Literal["refuse", "mask"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SyntheticConfig(_Dataset):
    """Arguments of `sklearn.datasets.make_multilabel_classification`."""

    kind: Literal["synthetic"]
    n_samples: PositiveInt
    n_features: PositiveInt
    n_classes: PositiveInt
    n_labels: NonNegativeInt
    length: PositiveInt
    allow_unlabeled: bool
    random_state: NonNegativeInt


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TableConfig(_Dataset):
    """A file of a table and the roles of its columns.

    Exactly one of `labels`, `last_labels` and `label_list_column` is given.
    """

    kind: Literal["table"]
    path: Name
    format: TableFormat | None
    sheet: Name | None
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None
    decimal: Literal[".", ","] | None
    thousands: Literal[",", ".", " ", "'", "_"] | None
    dayfirst: bool | None
    quoting: Literal["minimal", "none"]
    encoding: Name
    header: bool
    na_values: tuple[str, ...]
    labels: Annotated[_Columns, Field(min_length=1)] | None
    last_labels: PositiveInt | None
    label_list_column: Name | None
    label_separator: Name | None
    true_values: _LabelValues
    false_values: _LabelValues
    label_na_values: _LabelValues
    features: Annotated[_Columns, Field(min_length=1)] | None
    drop: _Columns
    categorical: _Columns
    numeric: _Columns
    text_columns: _Columns
    group_column: str | None
    fold_column: str | None
    id_column: str | None
    time_column: str | None
    weight_column: str | None
    test_path: Name | None
    memory_map: bool | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ArffConfig(_Dataset):
    """An ARFF file; its labels are named by MULAN's XML, by MEKA's relation name, or here."""

    kind: Literal["arff"]
    path: Name
    xml: Name | None
    instance_weights: Literal["ignore"] | None
    test_path: Name | None
    time_column: str | None
    weight_column: str | None
    labels: Annotated[_Columns, Field(min_length=1)] | None
    true_values: _LabelValues
    false_values: _LabelValues
    label_na_values: _LabelValues
    drop: _Columns


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OpenmlConfig(_Dataset):
    """A data set of OpenML, by number or by name and version."""

    kind: Literal["openml"]
    data_id: PositiveInt | None
    data_name: Name | None
    version: PositiveInt | None
    data_home: Name | None
    time_column: str | None
    weight_column: str | None
    labels: Annotated[_Columns, Field(min_length=1)] | None
    drop: _Columns


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SvmlightConfig(_Dataset):
    """A file of `<label>,<label> <feature>:<value> ...` lines."""

    kind: Literal["svmlight"]
    path: Name
    n_features: PositiveInt | None
    zero_based: bool | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NpzConfig(_Dataset):
    """Arrays `X`, `y` and, where they exist, names, `groups`, `times` and `sample_weight`."""

    kind: Literal["npz"]
    path: Name


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PythonDatasetConfig(_Dataset):
    """The dotted path of a function that returns X and y, and its keyword arguments."""

    kind: Literal["python"]
    loader: Name
    params: dict[str, Any]


DatasetConfig = Annotated[
    SyntheticConfig
    | TableConfig
    | ArffConfig
    | OpenmlConfig
    | SvmlightConfig
    | NpzConfig
    | PythonDatasetConfig,
    Field(discriminator="kind"),
]
_RandomState = Annotated[int, Field(ge=0, lt=2**32)]  # range of NumPy's RandomState


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KFoldConfig:
    """Arguments of repeated k-fold; `kind` names the groups or label frequencies it respects."""

    kind: Literal[
        "repeated_kfold", "multilabel_stratified", "group_kfold", "stratified_group_kfold"
    ]
    n_splits: Annotated[int, Field(ge=2)]
    n_repeats: PositiveInt
    random_state: _RandomState
    outer_splits: Annotated[int, Field(ge=2)] | None
    outer_repeats: PositiveInt


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ShuffleSplitConfig:
    """Arguments of `sklearn.model_selection.ShuffleSplit`; `test_size` is a fraction."""

    kind: Literal["shuffle_split"]
    n_splits: PositiveInt
    test_size: Annotated[float, Field(gt=0, lt=1)]
    random_state: _RandomState
    outer_splits: PositiveInt | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PredefinedConfig:
    """The folds of `dataset.fold_column` or `dataset.test_path`."""

    kind: Literal["predefined"]
    outer_splits: Annotated[int, Field(ge=2)] | None


def _extent(value: object, least: int = 1) -> int | str:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise PydanticCustomError(
        "extent",
        "Input should be a number of rows, at least {least}, or a duration such as 7d",
        {"least": least},
    )


_Extent = Annotated[int | str, PlainValidator(_extent)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TimeSeriesConfig:
    """Windows in order of `dataset.time_column`; sizes are numbers of rows, or durations as texts.

    The names are those of `sklearn.model_selection.TimeSeriesSplit`.
    """

    kind: Literal["time_series"]
    n_splits: PositiveInt
    test_size: _Extent | None
    max_train_size: _Extent | None
    gap: Annotated[int | str, PlainValidator(partial(_extent, least=0))]
    outer_splits: PositiveInt | None


CvConfig = Annotated[
    KFoldConfig | ShuffleSplitConfig | PredefinedConfig | TimeSeriesConfig,
    Field(discriminator="kind"),
]
