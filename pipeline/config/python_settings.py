"""Compose a configuration in Python: settings as on the command line, and values by group."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.compose import explain_hydra_error
from pipeline.errors import UserError
from pipeline.runtime import CONF_DIR

_HYDRA_STATE = (GlobalHydra, VersionBase, JobRuntime)


def compose_settings(settings: Sequence[str], groups: Mapping[str, Any]) -> DictConfig:
    """Compose the configuration of `conf/` with settings and with values by group.

    Args:
        settings: Settings as on the command line, such as `experiment=yeast`.
        groups: Of each group the name of an option, or a mapping of keys to values; of a key
            without a group its value. None leaves the default.

    Raises:
        UserError: If an option or a key of the settings is unknown. Unknown keys and values of the
            mappings are left to `parse_config`.
    """
    given = {name: value for name, value in groups.items() if value is not None}
    options = [f"{name}={value}" for name, value in given.items() if isinstance(value, str)]
    overrides = [*settings, *options]
    with own_hydra():
        try:
            with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
                composed = compose("config", overrides=overrides)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain_hydra_error(error, overrides) or str(error)) from error
    OmegaConf.set_struct(composed, False)  # the check of the whole names all unknown keys
    for name, value in given.items():
        if not isinstance(value, str):
            _update(composed, name, to_plain(value))
    return composed


def _update(composed: DictConfig, name: str, value: object) -> None:
    try:
        OmegaConf.update(composed, name, value, merge=True)
    except OmegaConfBaseException as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{name}: expected texts, numbers, lists and dicts of them. Received: {value!r} "
            f"({reason})"
        ) from error


@contextmanager
def own_hydra() -> Iterator[None]:
    """Give the block a Hydra of its own; that of a program around it is as before afterwards."""
    instances: dict[type, Any] = Singleton._instances
    kept: dict[type, Any] = {
        each: instances.pop(each) for each in _HYDRA_STATE if each in instances
    }
    try:
        yield
    finally:
        for each in _HYDRA_STATE:
            instances.pop(each, None)
        instances.update(kept)


def to_plain(value: Any) -> Any:
    """Convert mappings, sequences and NumPy's values to dicts, lists and Python's own."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple | set | range):
        return [to_plain(item) for item in value]
    return value
