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
class PreprocessingConfig:
    """What is learnt from a fold's training rows and done to its features."""

    scaling: Literal["none", "standard", "robust", "minmax"]
    imputation: Literal["none", "median", "mean", "constant"]
    fill_value: float
    add_indicator: bool
    min_frequency: PositiveInt


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
    ensemble_size: PositiveInt

    @property
    def title(self) -> str:
        """What to call the model."""
        return "mlp"

    @property
    def own_path(self) -> None:
        """Dotted path of the code that defines the model; None, as it is Manyfold's."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class KerasModelConfig:
    """A user's own builder by dotted path, with its keyword arguments."""

    kind: Literal["keras"]
    builder: _Name
    params: dict[str, Any] | None
    ensemble_size: PositiveInt

    @property
    def title(self) -> str:
        """What to call the model: the last parts of its path, module.name."""
        return ".".join(self.builder.split(".")[-2:])

    @property
    def own_path(self) -> str:
        """Dotted path of the code that defines the model."""
        return self.builder


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SklearnModelConfig:
    """A classifier by dotted path, and how its kind answers for several labels."""

    kind: Literal["sklearn"]
    estimator: _Name
    params: dict[str, Any] | None
    strategy: Literal["binary_relevance", "native", "classifier_chain"]
    chain_params: dict[str, Any] | None
    calibration: Literal["none", "sigmoid", "isotonic"]
    ensemble_size: PositiveInt

    @property
    def title(self) -> str:
        """What to call the model: RandomForestClassifier, LogisticRegression in chains."""
        name = self.estimator.rpartition(".")[2]
        return f"{name} in chains" if self.strategy == "classifier_chain" else name

    @property
    def own_path(self) -> str:
        """Dotted path of the code that defines the model."""
        return self.estimator


ModelConfig = Annotated[
    MlpConfig | KerasModelConfig | SklearnModelConfig, Field(discriminator="kind")
]
_Part = Annotated[float, Field(gt=0, le=0.5)]  # of the training rows


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EarlyStoppingConfig:
    """Arguments of `keras.callbacks.EarlyStopping`, and the rows it watches."""

    patience: NonNegativeInt | None
    min_delta: NonNegativeFloat
    restore_best_weights: bool
    validation_fraction: _Part


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainingConfig:
    """How each fold is trained; the last two change its speed alone."""

    optimizer: _Name
    learning_rate: PositiveFloat
    optimizer_params: dict[str, Any] | None
    lr_schedule: _Name | None
    lr_schedule_params: dict[str, Any] | None
    epochs: PositiveInt
    batch_size: PositiveInt
    loss: Literal["binary_crossentropy", "focal"]
    focal_gamma: Annotated[float, Field(ge=1)]
    class_weight: Literal["balanced"] | None
    early_stopping: EarlyStoppingConfig
    fits_per_program: PositiveInt | None
    n_threads: PositiveInt | None


def _zero_or_one(value: float) -> float:
    if value not in (0.0, 1.0):
        raise PydanticCustomError("zero_or_one", "Input should be 0.0 or 1.0")
    return value


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class InnerCvConfig:
    """How a training fold is divided again, to learn thresholds and temperatures."""

    n_splits: PositiveInt
    validation_fraction: _Part


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
class DecisionConfig:
    """Thresholds that turn probabilities into predicted labels, and calibration before them."""

    threshold: Annotated[float | str, PlainValidator(_threshold)]
    threshold_metric: _Name
    calibration: Literal["temperature"] | None
    inner_cv: InnerCvConfig


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ScoringConfig:
    """Metrics, the first of which is the headline, and the value of 0 / 0."""

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
    checkpoint_dir: _Name | None
    parent_run_id: _Name | None


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
    preprocessing: PreprocessingConfig
    model: ModelConfig
    training: TrainingConfig
    scoring: ScoringConfig
    decision: DecisionConfig
    report: ReportConfig
    tracking: TrackingConfig
    seed: NonNegativeInt
    resume: bool
    racing: RacingConfig | None = None
