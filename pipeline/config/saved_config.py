"""Compose the configuration that a run logged, with changes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.compose import explain_hydra_error
from pipeline.config.quoting import quote_arguments
from pipeline.config.renamed_keys import VALUES, translate_key
from pipeline.errors import UserError
from pipeline.runtime import CONF_DIR

FREE = ("params", "chain_params", "optimizer_params", "lr_schedule_params", "greater_is_better")
NAMED_BY_KIND = ("dataset", "model", "cv")  # groups whose option is named by their key `kind`


def recompose(text: str, overrides: Sequence[str]) -> DictConfig:
    """Return the configuration of a run's config.yaml, with changes.

    Former keys are translated, and keys that are newer than the run get their defaults. Texts are
    taken literally: an interpolation in the file would read variables of this process.

    Args:
        text: The content of config.yaml.
        overrides: Settings such as `seed=2` or `model=logistic`.

    Raises:
        UserError: If an override is invalid.
    """
    overrides = quote_arguments(overrides)
    saved = _translate(yaml.safe_load(text))
    options = [f"{group}={saved[group]['kind']}" for group in NAMED_BY_KIND]
    try:
        changes = OverridesParser.create().parse_overrides(list(overrides))
        chosen = [change for change in changes if _is_group(change.key_or_group)]
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            defaults = _to_dict(compose("config", overrides=options))
            options += [f"{change.key_or_group}={change.value()}" for change in chosen]
            replaced = _to_dict(compose("config", overrides=options))
        composed: DictConfig = OmegaConf.create(_escape(_fill(saved, defaults)))
        for change in changes:
            _check_change(change)
            key = change.key_or_group
            value = replaced[key] if change in chosen else change.value()
            OmegaConf.update(composed, key, value, merge=False, force_add=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain_hydra_error(error, overrides) or str(error)) from error
    return composed


def restore_path(composed: DictConfig, original: str | None) -> None:
    """Replace the path of a run's data by the one that it had, if it does not exist from here.

    Args:
        composed: The configuration of the run.
        original: Absolute path of the file that the run read, or None.

    Raises:
        UserError: If neither exists.
    """
    path = composed.dataset.get("path")
    if not path or Path(path).exists():
        return
    if not original or not Path(original).exists():
        raise UserError(
            f"dataset.path: expected the file of the run. Received: {original or path}, which "
            "does not exist. Give its new path: dataset.path=..."
        )
    composed.dataset.path = original


def _is_group(key: str) -> bool:
    """Return whether a key is a config group, whose value is an option."""
    return "." not in key and (CONF_DIR / key).is_dir()


def _check_change(change: Override) -> None:
    if change.is_delete() or change.is_sweep_override() or change.key_or_group == "experiment":
        raise UserError(
            f"Expected settings such as seed=2 or model=logistic. Received: {change.input_line}"
        )


def _to_dict(composed: DictConfig) -> dict[str, Any]:
    return dict(OmegaConf.to_container(composed))  # type: ignore[arg-type]


def _translate(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings under the present keys."""
    new: dict[str, Any] = {}

    def add(path: tuple[Any, ...], value: Any) -> None:
        if isinstance(value, dict) and value:
            for name, item in value.items():
                add((*path, name), item)
            return
        key = ".".join(map(str, path))
        present = translate_key(key)
        *parents, last = path if present == key else present.split(".")
        node = new
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = VALUES.get((key, value), value) if isinstance(value, str) else value

    add((), dict(values))
    return new


def _fill(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the defaults of the keys that they lack."""
    filled = {**defaults, **values}
    for name, default in defaults.items():
        is_free = name in FREE  # whose keys are the user's
        if isinstance(default, dict) and isinstance(values.get(name), dict) and not is_free:
            filled[name] = _fill(values[name], default)
    return filled


def _escape(value: Any) -> Any:
    """Return a value whose texts are literal for OmegaConf."""
    if isinstance(value, dict):
        return {key: _escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escape(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + r"\${", value)
    return value
