"""Dataclasses of the group `model`, one per kind."""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from pipeline.config.schema_data import STRICT, Name

TAKE_MISSING = ("sklearn.ensemble.HistGradientBoostingClassifier",)
"""Estimators of scikit-learn that take missing numbers, as all libraries of boosting do."""


_Dropout = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MlpConfig:
    """Keyword arguments of `pipeline.model.keras_models.mlp`, and the size of the ensemble."""

    kind: Literal["mlp"]
    hidden_units: tuple[PositiveInt, ...]
    activation: Name
    kernel_initializer: Name
    dropout: _Dropout
    batch_normalization: bool
    l2: NonNegativeFloat
    ensemble_size: PositiveInt

    title = "mlp"
    code_path = None  # of the user's code, as the model is part of Manyfold


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ResnetConfig:
    """Keyword arguments of `pipeline.model.tabular_networks.resnet`, and the ensemble's size."""

    kind: Literal["resnet"]
    n_blocks: PositiveInt
    units: PositiveInt
    hidden_units: PositiveInt
    hidden_dropout: _Dropout
    residual_dropout: _Dropout
    ensemble_size: PositiveInt

    title = "resnet"
    code_path = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MlpPlrConfig:
    """Keyword arguments of `pipeline.model.tabular_networks.mlp_plr`, and the ensemble's size."""

    kind: Literal["mlp_plr"]
    hidden_units: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    dropout: _Dropout
    n_frequencies: PositiveInt
    frequency_scale: PositiveFloat
    embedding_size: PositiveInt
    ensemble_size: PositiveInt

    title = "mlp_plr"
    code_path = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TabmConfig:
    """Keyword arguments of `pipeline.model.tabular_networks.tabm`, and the ensemble's size."""

    kind: Literal["tabm"]
    hidden_units: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    dropout: _Dropout
    n_submodels: PositiveInt
    ensemble_size: PositiveInt

    title = "tabm"
    code_path = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KerasModelConfig:
    """The dotted path of a function that returns a Keras model, and its keyword arguments."""

    kind: Literal["keras"]
    builder: Name
    params: dict[str, Any] | None
    ensemble_size: PositiveInt

    @property
    def title(self) -> str:
        """Name of the model: the last two parts of the dotted path."""
        return ".".join(self.builder.split(".")[-2:])

    @property
    def code_path(self) -> str:
        """Dotted path of the code that defines the model."""
        return self.builder


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SklearnModelConfig:
    """The dotted path of a classifier, its parameters, and its extension to several labels."""

    kind: Literal["sklearn"]
    estimator: Name
    params: dict[str, Any] | None
    strategy: Literal["binary_relevance", "native", "classifier_chain"]
    chain_params: dict[str, Any] | None
    calibration: Literal["none", "sigmoid", "isotonic"]
    ensemble_size: PositiveInt

    @property
    def title(self) -> str:
        """Name of the model, such as RandomForestClassifier or LogisticRegression in chains."""
        name = self.estimator.rpartition(".")[2]
        return f"{name} in chains" if self.strategy == "classifier_chain" else name

    @property
    def code_path(self) -> str:
        """Dotted path of the code that defines the model."""
        return self.estimator


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BoostingConfig:
    """A library of gradient-boosted trees, its parameters, and its extension to several labels."""

    kind: Literal["boosting"]
    library: Literal["xgboost", "lightgbm", "catboost"]
    params: dict[str, Any] | None
    strategy: Literal["native", "binary_relevance"]
    ensemble_size: PositiveInt

    @property
    def title(self) -> str:
        """Name of the model."""
        return {"xgboost": "XGBoost", "lightgbm": "LightGBM", "catboost": "CatBoost"}[self.library]

    @property
    def estimator(self) -> str:
        """Name of the model in messages, as of `SklearnModelConfig`."""
        return self.title

    @property
    def code_path(self) -> str:
        """Dotted path in the library, whose version is a part of the results."""
        return f"{self.library}.Booster"


ModelConfig = Annotated[
    MlpConfig
    | ResnetConfig
    | MlpPlrConfig
    | TabmConfig
    | KerasModelConfig
    | SklearnModelConfig
    | BoostingConfig,
    Field(discriminator="kind"),
]
EstimatorConfig = SklearnModelConfig | BoostingConfig


def takes_missing(config: ModelConfig) -> bool:
    """Return whether a model takes missing numbers."""
    if isinstance(config, SklearnModelConfig):
        return config.estimator in TAKE_MISSING
    return isinstance(config, BoostingConfig)
