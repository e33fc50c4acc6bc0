"""Compose configurations, and convert them to and from records, texts and YAML."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from pipeline.config.hydra_errors import explain_hydra_error
from pipeline.config.quoting import quote_arguments
from pipeline.config.schema import Config, TrackingConfig
from pipeline.config.serialization import map_texts
from pipeline.config.validation import invalid, validate
from pipeline.errors import UserError, reveal
from pipeline.mlflow_variables import ignore_variables
from pipeline.runtime import CONF_DIR

T = TypeVar("T")


def parse_config(composed: DictConfig) -> Config:
    """Convert the result of Hydra's composition to a `Config`.

    Raises:
        UserError: If keys are unknown or missing or values are invalid; the message names all.
    """
    config = validate(Config, _to_container(composed))
    if config.racing is not None and config.cv.outer_splits is not None:
        raise UserError(
            "racing: expected null with cv.outer_splits, because a race drops configurations by "
            "scores on the test rows of the outer folds, too, and the outer scores of the others "
            "would be too good. Received: racing. Leave out racing=first_repeat, or add ~racing to "
            "a search space that sets it."
        )
    return config


def parse_tracking(composed: DictConfig) -> TrackingConfig:
    """Convert the group `tracking` alone; the other groups may be invalid.

    Raises:
        UserError: If the group is invalid.
    """
    return validate(TrackingConfig, _to_container(composed.tracking), "tracking")


def compose_tracking(overrides: Sequence[str]) -> TrackingConfig:
    """Compose the group `tracking` from `conf/` and overrides such as `tracking.uri=...`.

    Raises:
        UserError: If an override is invalid.
    """
    overrides = quote_arguments(overrides)
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            return parse_tracking(compose("config", overrides=overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain_hydra_error(error, overrides) or str(error)) from error


def parse_settings(
    schema: type[T], key: str, settings: Mapping[str, Any], depth: int | None = None
) -> T:
    """Convert settings of one of Hydra's own groups, such as hydra.launcher, to a dataclass.

    An error message shows at most `depth` names below the key of the group.

    Raises:
        UserError: If names are unknown or missing or values are invalid; the message names all.
    """
    return validate(schema, dict(settings), key, depth)


def _to_container(composed: DictConfig) -> object:
    ignore_variables()  # an empty variable names no experiment
    try:
        container = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = error.full_key
        raise invalid([f"{key}: missing. Give it as {key}=..."]) from error
    except OmegaConfBaseException as error:
        raise UserError(f"Configuration refused: {error}") from error
    return map_texts(reveal, container)
