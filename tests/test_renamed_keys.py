"""Former keys, options and values are rejected with their present names, and read in old runs."""

import subprocess
import sys
from dataclasses import fields, is_dataclass
from typing import get_args

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from pipeline.config import explain_hydra_error, parse_config
from pipeline.config.renamed_keys import KEYS, VALUES, translate_key, translate_settings
from pipeline.config.schema import Config
from pipeline.config.serialization import flatten
from pipeline.errors import UserError
from pipeline.runtime import CONF_DIR

ARGUMENTS = {
    "preparation.impute=median": "preparation.impute was renamed: use preprocessing.imputation",
    "+preparation.impute=median": "preparation.impute was renamed: use preprocessing.imputation",
    "++model.n_members=3": "model.n_members was renamed: use model.ensemble_size",
    "~model.n_members": "model.n_members was renamed: use model.ensemble_size",
    "preparation=standard": "preparation=standard was renamed: use preprocessing=standard",
    "sweep=mlp_small": "sweep=mlp_small was renamed: use search_space=mlp_small",
    "+sweep=mlp_small": "sweep=mlp_small was renamed: use search_space=mlp_small",
    "model=python": "model=python was renamed: use model=keras",
    "model=mlp,python": "model=python was renamed: use model=keras",
    "training=adam": "training=adam was renamed: use training=default",
    "training.threads=1": "training.threads was renamed: use training.n_threads",
    "scoring=full": "scoring=full was renamed: use scoring=all_metrics",
    "scoring.threshold=0.3": "scoring.threshold was renamed: use decision.threshold",
    "scoring.inner.n_splits=2": (
        "scoring.inner.n_splits was renamed: use decision.inner_cv.n_splits"
    ),
    "dataset.callable=m.load": "dataset.callable was renamed: use dataset.loader",
    "model.kind=python": "model.kind=python was renamed: use model.kind=keras",
    "model=svm model.strategy=chain": (
        "model.strategy=chain was renamed: use model.strategy=classifier_chain"
    ),
    "model=svm model.probabilities=own": (
        "model.probabilities=own was renamed: use model.calibration=none"
    ),
}


def rejection(*arguments: str, config_dir: str = str(CONF_DIR)) -> str:
    """Return the message for a command line, from Hydra or from the checks after it."""
    try:
        with initialize_config_dir(str(config_dir), version_base="1.3"):
            composed = compose("config", overrides=list(arguments))
    except HydraException as error:
        return str(explain_hydra_error(error, list(arguments)))
    with pytest.raises(UserError) as caught:
        parse_config(composed)
    return str(caught.value)


@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_a_former_name_on_the_command_line_is_rejected_with_the_present_one(arguments):
    assert rejection(*arguments.split()) == f"Configuration refused:\n  {ARGUMENTS[arguments]}"


def test_all_former_names_of_a_command_line_are_reported_at_once():
    message = rejection("preparation=none", "model.n_members=2", "training.threads=1")
    assert message.count("was renamed: use") == 3


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["preparation:", "  impute: median"], "use preprocessing.imputation"),
        (["scoring:", "  inner:", "    n_splits: 2"], "use decision.inner_cv.n_splits"),
        (["model:", "  kind: python"], "use model.kind=keras"),
        (["defaults:", "  - override /training: adam"], "use training=default"),
        (["defaults:", "  - override /preparation: none"], "use preprocessing"),
        (["defaults:", "  - override /sweep: mlp_small"], "use search_space"),
    ],
)
def test_a_former_name_in_a_users_yaml_is_rejected_with_the_present_one(lines, expected, tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "\n".join(["# @package _global_", *lines])
    (tmp_path / "experiment" / "old.yaml").write_text(text)
    message = rejection("experiment=old", f"hydra.searchpath=[{tmp_path}]")
    assert "was renamed: " in message
    assert message.endswith(expected)


@pytest.mark.parametrize("command", [[], ["describe"]])
def test_the_commands_exit_with_2(command):
    process = subprocess.run(
        [sys.executable, "-m", "pipeline", *command, "model=python"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stderr == f"Configuration refused:\n  {ARGUMENTS['model=python']}\n"
    assert process.returncode == 2


def all_keys(schema: type, prefix: str = "") -> set[str]:
    """Return the dotted keys of all groups and kinds."""
    keys: set[str] = set()
    for field in fields(schema):
        key = f"{prefix}{field.name}"
        keys.add(key)
        options = [field.type]
        while options:
            option = options.pop()
            if isinstance(option, type) and is_dataclass(option):
                keys |= all_keys(option, f"{key}.")
            options += get_args(option)
    return keys


def test_present_names_exist_and_former_ones_do_not():
    keys = all_keys(Config) | {"search_space"}
    assert set(KEYS.values()) <= keys
    assert not set(KEYS) & keys
    options = {(path.parent.name, path.stem) for path in CONF_DIR.glob("*/*.yaml")}
    for (key, former), present in VALUES.items():
        if "." not in key:
            assert (key, present) in options
            assert (key, former) not in options


def test_settings_of_a_former_run_are_translated(make_config):
    former = {
        "preparation.numeric": "standard",
        "model.kind": "python",
        "dataset.kind": "python",
        "model.strategy": "per_label",
        "model.probabilities": "own",
        "scoring.inner.validation_share": "0.2",
        "scoring.threshold": "per_label",
        "seed": "1",
    }
    assert translate_settings(former) == {
        "preprocessing.scaling": "standard",
        "model.kind": "keras",
        "dataset.kind": "python",
        "model.strategy": "binary_relevance",
        "model.calibration": "none",
        "decision.inner_cv.validation_fraction": "0.2",
        "decision.threshold": "per_label",
        "seed": "1",
    }
    settings = flatten(make_config("model=random_forest"))
    assert translate_settings(settings) == settings


def test_a_key_below_a_renamed_group_is_translated():
    assert translate_key("preparation.fill_value") == "preprocessing.fill_value"
    assert translate_key("model.hidden_units") == "model.hidden_units"
