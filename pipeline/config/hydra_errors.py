"""Explain errors of Hydra on the command line: what is wrong, and what to type."""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.quoting import (
    FUNCTION,
    find_types,
    format_value,
    is_parsed,
    quote,
    quote_value,
)
from pipeline.config.renamed_keys import explain_renamed, explain_renamed_argument
from pipeline.config.validation import invalid
from pipeline.errors import suggest
from pipeline.runtime import CONF_DIR

EXTRAS = {("hydra/launcher", "joblib"): "joblib"}  # options that need an optional dependency
MISSING = object()  # for a key that may be null
OPTIONAL_GROUPS = ("experiment", "racing", "search_space")  # without an option by default


def explain_hydra_error(error: Exception, arguments: Sequence[str]) -> str | None:
    """Return the message for an invalid command line, or None for any other error."""
    if isinstance(error, ValueError) and "Config group override" in str(error):
        lines = [line for argument in arguments for line in _explain_no_option(argument)]
        return str(invalid(lines)) if lines else None
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    renamed = [line for argument in arguments for line in explain_renamed_argument(argument)]
    if renamed:
        return str(invalid(renamed))
    unknown = re.search(r"Could not override '([^']+)'", str(error))
    if unknown:
        return str(invalid(_explain_unknown_key(unknown[1], arguments)))
    missing = re.search(r"Could not find '([^']+)/([^/']+)'", str(error))
    if isinstance(error, MissingConfigException) and missing:
        return _explain_missing_option(missing[1], missing[2], error.options or [])
    if isinstance(error, OverrideParseException):
        return f"Configuration refused: {_explain_unparsed(error, arguments)}"
    reason = str(error).strip()
    if ambiguous := re.match(r"Ambiguous value for argument '([^=]+)=(.*)'$", reason, re.M):
        return str(invalid(_explain_several_values(*ambiguous.groups())))
    if "INTERVAL_SWEEP" in reason:
        reason = "an interval has too many values to try them all. Search it: hydra/sweeper=optuna"
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        reason += f"\n{cause}"
    return f"Configuration refused: {reason}"


def _explain_unparsed(error: OverrideParseException, arguments: Sequence[str]) -> str:
    """Explain an argument that does not follow Hydra's grammar, with the text to type."""
    argument = error.override
    key, separator, value = argument.partition("=")
    if not separator:
        index = list(arguments).index(argument) if argument in arguments else 0
        is_part = index > 0 and "=" in arguments[index - 1]
        setting = f"{arguments[index - 1]} {argument}" if is_part else "model.hidden_units=[64, 32]"
        hint = "Quote a setting with blanks for the shell"
        return f"expected key=value. Received: {argument!r}. {hint}: {shlex.quote(setting)}"
    reason = str(error).partition("\nSee https")[0].partition("\n")[2].strip()
    if FUNCTION.fullmatch(value) and reason:
        plain = re.fullmatch(r"choice\((.*\bnull\b.*)\)", value, re.DOTALL)
        hint = shlex.quote(f"{key}={plain[1]}") if plain else ""
        return f"{argument}\n  {reason}{hint and f'{chr(10)}  Type: --multirun {hint}'}"
    types = find_types(key)
    if missing := "]" * (value.count("[") - value.count("]")):
        typed = f"{key}={value}{missing}"
    elif any(depth for depth, _ in types):
        typed = f"{key}=[{value.strip('()[]{} ')}]"
    else:
        typed = f"{key}={quote_value(value)}"
    if is_parsed(typed) and (not types or missing or typed.endswith("]")):
        return f"{argument!r} needs quotes or brackets for Hydra. Type: {shlex.quote(typed)}"
    return f"{argument!r} does not follow Hydra's grammar.\n  {reason}"


def _explain_no_option(argument: str) -> Iterator[str]:
    """Explain an argument that chooses null, a number or the like in a group."""
    key, separator, value = argument.partition("=")
    if not separator or "." in key or key.startswith("-"):
        return
    if value == "null":
        yield f"{argument}: leave out a group with ~{key}"
    elif not key:
        yield f"expected key=value. Received: {argument!r}"
    elif (CONF_DIR / key).is_dir():
        available = [path.stem for path in (CONF_DIR / key).glob("*.yaml")]
        yield f"{argument}: expected the name of an option. {suggest(value, available)}"


def _explain_several_values(key: str, values: str) -> Iterator[str]:
    """Yield what a value with a comma outside of brackets may mean, and what to type."""
    yield f"{key}: expected one value. Received: {values}"
    types = find_types(key)
    is_group = (CONF_DIR / key).is_dir()
    depths = {depth for depth, _ in types}
    is_number = re.fullmatch(r"\d+,\d+", values) and (0, float) in types
    yield f"  to try each of them: --multirun {shlex.quote(f'{key}={values}')}"
    if not is_group and depths != {0}:
        yield f"  as a list: {shlex.quote(f'{key}=[{values}]')}"
    if not is_group and (not types or (0, str) in types):
        yield f"  as one text: {shlex.quote(f'{key}={quote(values)}')}"
    if is_number:
        yield f"  as a decimal number: {key}={values.replace(',', '.')}"


def check_renamed(arguments: Iterable[str], list_options: Callable[[str], Sequence[str]]) -> None:
    """Reject former groups, options, keys and values in command-line arguments.

    Args:
        arguments: The arguments.
        list_options: Lists the options of a group.

    Raises:
        UserError: If there are any; the message names all.
    """
    messages = [
        line for argument in arguments for line in explain_renamed_argument(argument, list_options)
    ]
    if messages:
        raise invalid(dict.fromkeys(messages))


def _explain_missing_option(group: str, option: str, available: Iterable[str]) -> str:
    if (group, option) in EXTRAS:
        extra = EXTRAS[group, option]
        return f"{group}: {option} is not installed. Install it: pip install 'manyfold[{extra}]'"
    renamed = list(explain_renamed_argument(f"{group}={option}"))
    unknown = f"{group}: no such option {option!r}. {suggest(option, available)}"
    return str(invalid(renamed or [unknown]))


def _explain_unknown_key(key: str, arguments: Sequence[str]) -> list[str]:
    renamed = list(explain_renamed(key))
    if renamed:
        return renamed
    parent, _, name = key.rpartition(".")
    composed = _compose_options(arguments)
    group = key.partition(".")[0]
    if parent and group in OPTIONAL_GROUPS and group not in composed:
        return [f"{key}: no such key before {group}=... is chosen."]
    if key.startswith("hydra.") and (owners := list(_find_owners(key))):
        return [f"{key}: no such key before an option is chosen that has it: {' or '.join(owners)}"]
    if OmegaConf.select(composed, key, default=None) is not None or key in composed:
        return list(_explain_absent_key(key, composed, arguments))
    siblings = OmegaConf.select(composed, parent) if parent else composed
    while not isinstance(siblings, DictConfig):
        parent, _, name = parent.rpartition(".")
        siblings = OmegaConf.select(composed, parent) if parent else composed
    available = {str(key) for key in siblings if key != "hydra" and not str(key).startswith("_")}
    hint = suggest(name, available if parent else available.union(OPTIONAL_GROUPS))
    if not parent:
        return [f"{name}: no such key. {hint}"]
    options = ", ".join(_find_options(group, key))
    belongs = f" It belongs to {options}." if options else ""
    return [f"{parent}.{name}: no such key.{belongs} {hint}"]


def _find_options(group: str, key: str) -> list[str]:
    """Return the options of a group, such as dataset=table, whose file has a key."""
    parent, _, name = key.partition(".")[2].rpartition(".")
    options = []
    for path in sorted((CONF_DIR / group).glob("*.yaml")):
        settings = OmegaConf.load(path)
        settings = OmegaConf.select(settings, parent) if parent else settings
        if isinstance(settings, DictConfig) and name in settings.keys():  # noqa: SIM118, also ???
            options.append(f"{group}={path.stem}")
    return options


def _find_owners(key: str) -> Iterator[str]:
    """Yield the options, such as hydra/sweeper=optuna, that have a key of Hydra."""
    parent = ".".join(key.split(".")[:2])
    group, name = parent.replace(".", "/"), key.rpartition(".")[2]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        for option in GlobalHydra.instance().config_loader().get_group_options(group):
            chosen = f"{group}={option}"
            settings = compose("config", overrides=[chosen], return_hydra_config=True)
            present = f"{parent}.{name}"
            if OmegaConf.select(settings, present, default=MISSING) is not MISSING:
                yield chosen if present == key else f"{chosen} (the key is {present} there)"


def _explain_absent_key(key: str, composed: DictConfig, arguments: Sequence[str]) -> Iterator[str]:
    """Explain a key or group that Manyfold has, but the user's own configuration has not."""
    chosen = next((text for text in arguments if text.startswith(f"{key}=")), f"{key}=...")
    if not (CONF_DIR / key).is_dir():
        yield f"{key}: no such key in this configuration. Add it: {shlex.quote(f'++{chosen}')}"
        return
    yield f"{chosen}: this configuration has no list `defaults` with {key}, so"
    group = OmegaConf.select(composed, key)
    values = OmegaConf.to_container(group) if isinstance(group, DictConfig) else None
    is_flat = isinstance(values, dict) and not any(isinstance(it, dict) for it in values.values())
    if isinstance(values, dict) and is_flat and "kind" not in values:
        settings = (f"{key}.{name!s}={format_value(value)}" for name, value in values.items())
        yield f"  none of its options can be chosen. Set its keys: {shlex.join(settings)}"
    else:
        first = next(iter(values or ["..."]))
        yield f"  none of its options can be chosen. Set its keys, such as {key}.{first}=..."
    option = chosen.partition("=")[2]
    yield f"  Or replace its block `{key}:` in the file: defaults: [{key}: {option}, _self_]"


def _compose_options(arguments: Sequence[str]) -> DictConfig:
    """Compose the valid group options of a command line, and nothing else of it."""
    GlobalHydra.instance().clear()
    chosen: list[str] = []
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        for argument in arguments:
            if re.fullmatch(r"[\w/]+=[\w/]+", argument):
                try:
                    compose("config", overrides=[*chosen, argument])
                except (HydraException, OmegaConfBaseException):
                    continue  # possibly the invalid one
                chosen.append(argument)
        return compose("config", overrides=chosen, return_hydra_config=True)
