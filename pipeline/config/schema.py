"""The typed schema of `conf/`: one frozen dataclass per group and kind."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from pipeline.config.cv import CvConfig
from pipeline.config.dataset import DatasetConfig
from pipeline.config.strict import STRICT as _STRICT
from pipeline.config.strict import Name as _Name


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PreparationConfig:
    """What is learnt from a fold's training rows and done to its features."""

    numeric: Literal["none", "standard", "robust", "minmax"]
    impute: Literal["none", "median", "mean", "constant"]
    fill_value: float
    indicators: bool
    pool_below: PositiveInt


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class MlpConfig:
    """Keyword arguments of `pipeline.model.mlp.mlp`."""

    kind: Literal["mlp"]
    hidden_units: tuple[PositiveInt, ...]
    activation: _Name
    kernel_initializer: _Name
    dropout: Annotated[float, Field(ge=0, lt=1)]
    batch_normalization: bool
    l2: NonNegativeFloat


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PythonModelConfig:
    """A user's own builder by dotted path, with its keyword arguments."""

    kind: Literal["python"]
    callable: _Name
    params: dict[str, Any] | None


ModelConfig = Annotated[MlpConfig | PythonModelConfig, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainingConfig:
    """How each fold is trained; the last two change its speed alone."""

    optimizer: _Name
    learning_rate: PositiveFloat
    optimizer_options: dict[str, Any] | None
    epochs: PositiveInt
    batch_size: PositiveInt
    stack_size: PositiveInt | None
    threads: PositiveInt | None


def _zero_or_one(value: float) -> float:
    if value not in (0.0, 1.0):
        raise PydanticCustomError("zero_or_one", "Input should be 0.0 or 1.0")
    return value


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ScoringConfig:
    """Decision threshold, metrics (the first is the headline) and what 0 / 0 counts."""

    threshold: Annotated[float, Field(gt=0, lt=1)]
    metrics: Annotated[tuple[_Name, ...], Field(min_length=1)]
    zero_division: Annotated[float, AfterValidator(_zero_or_one)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ReportConfig:
    """What a run draws and writes for people to look at; its tables are kept in any case."""

    figures: bool
    html: bool


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrackingConfig:
    """The MLflow store, experiment and run."""

    uri: _Name | None
    experiment_name: _Name
    run_name: _Name | None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Config:
    """One configuration, whole."""

    dataset: DatasetConfig
    cv: CvConfig
    preparation: PreparationConfig
    model: ModelConfig
    training: TrainingConfig
    scoring: ScoringConfig
    report: ReportConfig
    tracking: TrackingConfig
    seed: NonNegativeInt
