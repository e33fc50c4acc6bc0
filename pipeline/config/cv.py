"""How rows are divided into folds: one frozen dataclass per kind of `conf/cv/`."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from pipeline.config.strict import STRICT

_Folds = Annotated[int, Field(ge=2)]
_RandomState = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy's RandomState takes


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RepeatedKFoldConfig:
    """Arguments of `sklearn.model_selection.RepeatedKFold`."""

    kind: Literal["repeated_kfold"]
    n_splits: _Folds
    n_repeats: PositiveInt
    random_state: _RandomState


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MultilabelStratifiedConfig:
    """Repeated k-fold in which each label has its share of every fold."""

    kind: Literal["multilabel_stratified"]
    n_splits: _Folds
    n_repeats: PositiveInt
    random_state: _RandomState


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GroupKFoldConfig:
    """Repeated k-fold over whole groups."""

    kind: Literal["group_kfold"]
    n_splits: _Folds
    n_repeats: PositiveInt
    random_state: _RandomState


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StratifiedGroupKFoldConfig:
    """Repeated k-fold over whole groups in which each label has its share of every fold."""

    kind: Literal["stratified_group_kfold"]
    n_splits: _Folds
    n_repeats: PositiveInt
    random_state: _RandomState


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ShuffleSplitConfig:
    """Arguments of `sklearn.model_selection.ShuffleSplit`; the test size as a share."""

    kind: Literal["shuffle_split"]
    n_splits: PositiveInt
    test_size: Annotated[float, Field(gt=0, lt=1)]
    random_state: _RandomState


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PredefinedConfig:
    """The folds that the data bring along."""

    kind: Literal["predefined"]


CvConfig = Annotated[
    RepeatedKFoldConfig
    | MultilabelStratifiedConfig
    | GroupKFoldConfig
    | StratifiedGroupKFoldConfig
    | ShuffleSplitConfig
    | PredefinedConfig,
    Field(discriminator="kind"),
]
