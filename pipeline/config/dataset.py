"""The typed schema of `conf/dataset/`: one frozen dataclass per source."""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from pipeline.config.strict import STRICT, Name

Value = float | str | None  # of a feature: a number, a category's text, or missing
_Rows = tuple[tuple[Value, ...], ...]
_Columns = tuple[str, ...]  # names, or shell patterns such as tag_*


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SyntheticConfig:
    """Arguments of `sklearn.datasets.make_multilabel_classification`."""

    kind: Literal["synthetic"]
    n_samples: PositiveInt
    n_features: PositiveInt
    n_classes: PositiveInt
    n_labels: NonNegativeInt
    length: PositiveInt
    allow_unlabeled: bool
    random_state: NonNegativeInt
    new_rows: _Rows
    name: Name | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TableConfig:
    """A CSV, TSV or Parquet file and the parts its columns play.

    Exactly one of `labels`, `last_labels` and `label_list` says where the labels are.
    """

    kind: Literal["table"]
    path: Name
    format: Literal["csv", "tsv", "parquet"] | None
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None
    decimal: Literal[".", ","]
    encoding: Name
    header: bool
    missing: tuple[str, ...]
    labels: Annotated[_Columns, Field(min_length=1)] | None
    last_labels: PositiveInt | None
    label_list: Name | None
    label_separator: Name
    features: Annotated[_Columns, Field(min_length=1)] | None
    drop: _Columns
    categorical: _Columns
    numeric: _Columns
    group: str | None
    fold: str | None
    id: str | None
    test_path: Name | None
    new_rows: _Rows
    name: Name | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ArffConfig:
    """An ARFF file of MULAN, of MEKA, or with its labels named here."""

    kind: Literal["arff"]
    path: Name
    xml: Name | None
    test_path: Name | None = None
    labels: Annotated[_Columns, Field(min_length=1)] | None = None
    drop: _Columns = ()
    new_rows: _Rows = ()
    name: Name | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OpenmlConfig:
    """A data set of OpenML, by number or by name and version."""

    kind: Literal["openml"]
    data_id: PositiveInt | None
    data_name: Name | None
    version: PositiveInt | None
    data_home: Name | None
    labels: Annotated[_Columns, Field(min_length=1)] | None
    drop: _Columns
    new_rows: _Rows
    name: Name | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SvmlightConfig:
    """A file of `<label>,<label> <feature>:<value> ...` lines."""

    kind: Literal["svmlight"]
    path: Name
    n_features: PositiveInt | None
    zero_based: bool | None
    new_rows: _Rows
    name: Name | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NpzConfig:
    """Arrays `X`, `y` and, where they exist, `feature_names`, `label_names` and `groups`."""

    kind: Literal["npz"]
    path: Name
    new_rows: _Rows
    name: Name | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PythonDatasetConfig:
    """A user's own callable by dotted path, with its keyword arguments; it returns X and y."""

    kind: Literal["python"]
    callable: Name
    params: dict[str, Any]
    new_rows: _Rows
    name: Name | None = None


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
