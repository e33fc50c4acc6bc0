"""Dataclasses of the configuration, one per group and kind; defaults are in `conf/` alone."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
)
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from pipeline.config.schema_data import STRICT, CvConfig, DatasetConfig, Name
from pipeline.config.schema_models import ModelConfig, takes_missing


def _to_tuple(value: object) -> object:
    """Return the tuple of a list; an empty one of none."""
    if value in (None, "none"):
        return ()
    return tuple(value) if isinstance(value, list) else value


def _ascending(value: tuple[int, int]) -> tuple[int, int]:
    if value[0] > value[1]:
        raise PydanticCustomError("ascending", "Input should be two numbers in ascending order")
    return value


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TextConfig:
    """TF-IDF of columns of texts, or a truncated SVD of it, learnt from the training rows."""

    analyzer: Literal["word", "char", "char_wb"]
    ngram_range: Annotated[tuple[PositiveInt, PositiveInt], AfterValidator(_ascending)]
    max_features: PositiveInt
    min_df: PositiveInt
    hashing: bool
    n_components: PositiveInt | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PreprocessingConfig:
    """Scaling, imputation and encoding of features, learnt from the training rows of each fold."""

    scaling: Literal["none", "standard", "robust", "minmax"]
    imputation: Literal["none", "median", "mean", "constant"]
    fill_value: float
    add_indicator: bool
    min_frequency: PositiveInt
    category_encoding: Literal["onehot", "ordinal", "embedding", "hashing", "target"]
    n_hash_buckets: PositiveInt
    datetime: Annotated[
        tuple[Literal["year", "month", "weekday", "hour", "days"], ...],
        BeforeValidator(_to_tuple),
    ]
    text: TextConfig


_ValidationFraction = Annotated[float, Field(gt=0, le=0.5)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EarlyStoppingConfig:
    """Arguments of `keras.callbacks.EarlyStopping`, and the fraction of validation rows."""

    patience: NonNegativeInt | None
    min_delta: NonNegativeFloat
    restore_best_weights: bool
    validation_fraction: _ValidationFraction


def _focusing(value: float) -> float:
    if value != 0 and value < 1:  # between them, the slope at a probability of 0 is infinite
        raise PydanticCustomError("focusing", "Input should be 0, or at least 1")
    return value


def _label_weights(value: Any) -> tuple[float, ...] | dict[str, float] | None:
    if value is None:
        return None
    weights = value.values() if isinstance(value, dict) else value
    if (
        not isinstance(value, dict | list | tuple)
        or any(isinstance(it, bool) or not isinstance(it, int | float) for it in weights)
        or not all(0 < it < float("inf") for it in weights)
    ):
        raise PydanticCustomError(
            "label_weights", "Input should be numbers above 0, as a list or by the names of labels"
        )
    return dict(value) if isinstance(value, dict) else tuple(map(float, value))


_UNITS = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}


def parse_bytes(size: str) -> int:
    """Return the bytes of a size such as 4GB, 0.5GiB or 500MB; 0 of any other text."""
    match = re.fullmatch(rf"(\d+(?:\.\d+)?) ?({'|'.join(_UNITS)})", size)
    return int(float(match[1]) * _UNITS[match[2]]) if match else 0


def _memory(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and parse_bytes(value)):
        raise PydanticCustomError("memory", "Input should be a size such as 4GB or 500MB, or null")
    return value


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingConfig:
    """Training of each fold; `n_threads` affects only speed.

    So do `fits_per_program` and `memory`, unless they let fits train alone: then last bits can
    differ.
    """

    optimizer: Name
    learning_rate: PositiveFloat
    optimizer_params: dict[str, Any] | None
    lr_schedule: Name | None
    lr_schedule_params: dict[str, Any] | None
    epochs: PositiveInt
    batch_size: PositiveInt
    loss: Literal["binary_crossentropy", "focal", "asymmetric"]
    focal_gamma: Annotated[float, Field(ge=1)]
    asymmetric_gamma_pos: Annotated[float, AfterValidator(_focusing)]
    asymmetric_gamma_neg: Annotated[float, AfterValidator(_focusing)]
    asymmetric_clip: Annotated[float, Field(ge=0, lt=1)]
    class_weight: Literal["balanced", "effective_number"] | None
    class_weight_beta: Annotated[float, Field(ge=0, lt=1)]
    label_weights: Annotated[
        tuple[float, ...] | dict[str, float] | None, PlainValidator(_label_weights)
    ]
    early_stopping: EarlyStoppingConfig
    final_fit: Literal["train", "all"] | None
    fits_per_program: PositiveInt | None
    n_threads: PositiveInt | None
    deterministic: bool
    memory: Annotated[str | None, PlainValidator(_memory)]


def _zero_or_one(value: float) -> float:
    if value not in (0.0, 1.0):
        raise PydanticCustomError("zero_or_one", "Input should be 0.0 or 1.0")
    return value


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InnerCvConfig:
    """Inner splits of the training rows, to tune thresholds and temperatures."""

    n_splits: PositiveInt
    validation_fraction: _ValidationFraction


TUNED_THRESHOLDS = ("global", "per_label", "cardinality")


def _threshold(value: object) -> float | str:
    if value in TUNED_THRESHOLDS:
        return str(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1:
        return float(value)
    raise PydanticCustomError(
        "threshold",
        "Input should be a number between 0 and 1, or {tuned}",
        {"tuned": " or ".join(TUNED_THRESHOLDS)},
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DecisionConfig:
    """Thresholds that turn probabilities into predicted labels, and calibration before them."""

    threshold: Annotated[float | str, PlainValidator(_threshold)]
    threshold_metric: Name
    calibration: Literal["temperature"] | None
    inner_cv: InnerCvConfig


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScoringConfig:
    """Metrics, the headline first; the direction of the user's own; 0 / 0; and weights of rows."""

    metrics: Annotated[tuple[Name, ...], Field(min_length=1)]
    greater_is_better: Annotated[dict[Name, bool], BeforeValidator(lambda value: value or {})]
    zero_division: Annotated[float, AfterValidator(_zero_or_one)]
    weighted: bool


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReportConfig:
    """Figures, report page and importance of features; tables of scores are always written."""

    figures: bool
    html: bool
    in_sweep: Literal["best", "all", "none"]
    importance: bool
    importance_repeats: PositiveInt
    importance_metric: Literal["average_precision", "roc_auc", "log_loss"]
    importance_groups: Annotated[float, Field(gt=0, lt=1)] | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ChecksConfig:
    """Codes of checks that are not shown, and whether a finding ends with exit code 1."""

    ignore: tuple[Name, ...]
    strict: bool


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrackingConfig:
    """The MLflow store, experiment and run; sweeps set the parent run of their jobs."""

    uri: Name | None
    experiment_name: Name
    run_name: Name | None
    checkpoint_dir: Name | None
    parent_run_id: Name | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RacingConfig:
    """Early stopping of configurations that are significantly worse than the incumbent."""

    incumbent: Name | None
    n_candidates: PositiveInt
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    metric: Name | None
    direction: Literal["maximize", "minimize"] | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """A complete configuration."""

    dataset: DatasetConfig
    cv: CvConfig
    preprocessing: PreprocessingConfig
    model: ModelConfig
    training: TrainingConfig
    scoring: ScoringConfig
    decision: DecisionConfig
    report: ReportConfig
    checks: ChecksConfig
    tracking: TrackingConfig
    seed: NonNegativeInt
    resume: bool
    racing: RacingConfig | None = None

    @property
    def requires_complete_rows(self) -> bool:
        """True if missing numbers are refused: nothing imputes them and the model takes none."""
        return self.preprocessing.imputation == "none" and not takes_missing(self.model)
