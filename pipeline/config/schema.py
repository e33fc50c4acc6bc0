"""Dataclasses of the configuration: one per group and kind."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
)
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from pipeline.config.schema_data import STRICT as _STRICT
from pipeline.config.schema_data import CvConfig, DatasetConfig
from pipeline.config.schema_data import Name as _Name


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
    """Keyword arguments of `pipeline.model.keras_models.mlp`."""

    kind: Literal["mlp"]
    hidden_units: tuple[PositiveInt, ...]
    activation: _Name
    kernel_initializer: _Name
    dropout: Annotated[float, Field(ge=0, lt=1)]
    batch_normalization: bool
    l2: NonNegativeFloat
    n_members: PositiveInt

    @property
    def title(self) -> str:
        """What to call the model."""
        return "mlp"

    @property
    def own_path(self) -> None:
        """Dotted path of the code that defines the model; None, as it is Manyfold's."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PythonModelConfig:
    """A user's own builder by dotted path, with its keyword arguments."""

    kind: Literal["python"]
    callable: _Name
    params: dict[str, Any] | None
    n_members: PositiveInt

    @property
    def title(self) -> str:
        """What to call the model: the last parts of its path, module.name."""
        return ".".join(self.callable.split(".")[-2:])

    @property
    def own_path(self) -> str:
        """Dotted path of the code that defines the model."""
        return self.callable


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SklearnModelConfig:
    """A classifier by dotted path, and how its kind answers for several labels."""

    kind: Literal["sklearn"]
    estimator: _Name
    params: dict[str, Any] | None
    strategy: Literal["per_label", "native", "chain"]
    chain_options: dict[str, Any] | None
    probabilities: Literal["own", "sigmoid", "isotonic"]
    n_members: PositiveInt

    @property
    def title(self) -> str:
        """What to call the model: RandomForestClassifier, LogisticRegression in chains."""
        name = self.estimator.rpartition(".")[2]
        return f"{name} in chains" if self.strategy == "chain" else name

    @property
    def own_path(self) -> str:
        """Dotted path of the code that defines the model."""
        return self.estimator


ModelConfig = Annotated[
    MlpConfig | PythonModelConfig | SklearnModelConfig, Field(discriminator="kind")
]
_Part = Annotated[float, Field(gt=0, le=0.5)]  # of the training rows


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EarlyStoppingConfig:
    """Arguments of `keras.callbacks.EarlyStopping`, and the rows it watches."""

    patience: NonNegativeInt | None
    min_delta: NonNegativeFloat
    restore_best: bool
    validation_share: _Part


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainingConfig:
    """How each fold is trained; the last two change its speed alone."""

    optimizer: _Name
    learning_rate: PositiveFloat
    optimizer_options: dict[str, Any] | None
    schedule: _Name | None
    schedule_options: dict[str, Any] | None
    epochs: PositiveInt
    batch_size: PositiveInt
    loss: Literal["binary_crossentropy", "focal"]
    focal_gamma: Annotated[float, Field(ge=1)]
    class_weight: Literal["balanced"] | None
    early_stopping: EarlyStoppingConfig
    stack_size: PositiveInt | None
    threads: PositiveInt | None


def _zero_or_one(value: float) -> float:
    if value not in (0.0, 1.0):
        raise PydanticCustomError("zero_or_one", "Input should be 0.0 or 1.0")
    return value


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class InnerConfig:
    """How a training fold is divided again, to learn thresholds and temperatures."""

    n_splits: PositiveInt
    validation_share: _Part


LEARNT_THRESHOLDS = ("global", "per_label", "cardinality")


def _threshold(value: object) -> float | str:
    if value in LEARNT_THRESHOLDS:
        return str(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1:
        return float(value)
    raise PydanticCustomError(
        "threshold",
        "Input should be a number between 0 and 1, or {learnt}",
        {"learnt": " or ".join(LEARNT_THRESHOLDS)},
    )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ScoringConfig:
    """How labels are decided, the metrics (the first is the headline) and what 0 / 0 counts."""

    threshold: Annotated[float | str, PlainValidator(_threshold)]
    threshold_metric: _Name
    calibration: Literal["temperature"] | None
    inner: InnerConfig
    metrics: Annotated[tuple[_Name, ...], Field(min_length=1)]
    zero_division: Annotated[float, AfterValidator(_zero_or_one)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ReportConfig:
    """What a run draws and writes for people to look at; its tables are kept in any case."""

    figures: bool
    html: bool


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrackingConfig:
    """The MLflow store, experiment and run; a sweep gives its jobs the parent run."""

    uri: _Name | None
    experiment_name: _Name
    run_name: _Name | None
    checkpoints: _Name | None
    parent_run_id: _Name | None = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RacingConfig:
    """When a configuration that is behind another stops early."""

    incumbent: _Name | None
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    metric: _Name | None
    direction: Literal["maximize", "minimize"] | None


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
    resume: bool
    racing: RacingConfig | None = None
