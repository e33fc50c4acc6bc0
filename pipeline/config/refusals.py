"""What is said when the command line cannot be composed into a configuration."""

import re

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.errors import choices
from pipeline.project import CONF_DIR

EXTRAS = {("hydra/launcher", "joblib"): "joblib"}  # options that come with an extra
UNCHOSEN = ["experiment", "racing", "sweep"]  # groups that may be left out


def explain(error: Exception, arguments: list[str]) -> str | None:
    """Return words for a refused command line, or None if the error is not the user's.

    Args:
        error: What Hydra raised.
        arguments: The command line, to see which keys exist under the groups it chose.
    """
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    unknown = re.search(r"Could not override '([^']+)'", str(error))
    if unknown:
        return _unknown_key(unknown[1], arguments)
    missing = re.search(r"Could not find '([^']+)/([^/']+)'", str(error))
    if isinstance(error, MissingConfigException) and missing:
        group, option = missing.groups()
        if (group, option) in EXTRAS:
            extra = EXTRAS[group, option]
            return (
                f"{group}: {option} is not installed. Install it: pip install 'manyfold[{extra}]'"
            )
        counsel = choices(option, error.options or [])
        return f"Configuration refused:\n  {group}: no such option {option!r}. {counsel}"
    if isinstance(error, OverrideParseException):
        return (
            f"Configuration refused: expected key=value. Received: {error.override!r}. Quote what "
            "the shell would take apart: 'model.hidden_units=[64,32]'"
        )
    reason = str(error).strip()
    if "INTERVAL_SWEEP" in reason:
        reason = "an interval has too many values to try them all. Search it: hydra/sweeper=optuna"
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        reason += f"\n{cause}"
    return f"Configuration refused: {reason}"


def _unknown_key(key: str, arguments: list[str]) -> str:
    parent, _, name = key.rpartition(".")
    config = _compose_groups(arguments)
    group = key.partition(".")[0]
    if parent and group in UNCHOSEN and group not in config:
        return f"Configuration refused:\n  {key}: no such key before {group}=... is chosen."
    siblings = OmegaConf.select(config, parent) if parent else config
    while siblings is None or not isinstance(siblings, DictConfig):
        parent, _, name = parent.rpartition(".")
        siblings = OmegaConf.select(config, parent) if parent else config
    refused = f"{parent}.{name}" if parent else name
    shown = [str(key) for key in siblings if key != "hydra" and not str(key).startswith("_")]
    groups = [] if parent else UNCHOSEN
    counsel = choices(name, {*shown, *groups})
    return f"Configuration refused:\n  {refused}: no such key. {counsel}"


def _compose_groups(arguments: list[str]) -> DictConfig:
    """Compose the groups that the command line chooses, as far as they exist, and nothing else."""
    GlobalHydra.instance().clear()
    chosen: list[str] = []
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        for argument in arguments:
            if re.fullmatch(r"[\w/]+=[\w/]+", argument):
                try:
                    compose("config", overrides=[*chosen, argument])
                except (HydraException, OmegaConfBaseException):
                    continue  # this one may be what is refused
                chosen.append(argument)
        return compose("config", overrides=chosen, return_hydra_config=True)
