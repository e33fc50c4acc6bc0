"""Hydra plugins and the checks of remote launchers; neither Ray nor Slurm is needed."""

import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf
from packaging.version import Version

from pipeline import sweeps
from pipeline.errors import UserError
from pipeline.runtime import CONF_DIR
from pipeline.sweeps import plugins
from pipeline.sweeps.plugins import (
    OPTUNA_SWEEPER,
    RAY_LAUNCHER,
    SLURM_LAUNCHER,
    RayConfig,
    RayLauncher,
    SlurmConfig,
    prepare_launcher,
    read_launcher_config,
    server_command,
)

DOCS = (Path(__file__).parents[1] / "docs" / "scale-out.md").read_text()
LAUNCHERS = {"ray_cluster": (RAY_LAUNCHER, RayConfig), "slurm": (SLURM_LAUNCHER, SlurmConfig)}


def settings(launcher: str) -> dict:
    values = OmegaConf.load(CONF_DIR / "hydra" / "launcher" / f"{launcher}.yaml")
    if launcher == "slurm":
        values.folder = "a folder"
    return OmegaConf.to_container(values)


def sweep_config(launcher: str, uri: str | None):
    return OmegaConf.create(
        {
            "hydra": {
                "launcher": settings(launcher),
                "runtime": {"choices": {"hydra/launcher": launcher}},
            },
            "tracking": {"uri": uri},
        }
    )


def test_the_installed_hydra_is_one_that_these_plugins_are_tested_with():
    # The newest release of 1.3 is the pinned one. Another one: run this file, then raise the bound.
    assert Version("1.3.8") <= Version(version("hydra-core")) < Version("1.4")


@pytest.mark.parametrize("target", [RAY_LAUNCHER, SLURM_LAUNCHER, OPTUNA_SWEEPER])
def test_hydra_instantiates_the_registered_names(target):
    sweeps.register()
    made = Plugins.instance()._instantiate(OmegaConf.create({"_target_": target, "key": 1}))
    assert type(made).__name__ == target.rpartition(".")[2]
    assert type(made).__module__ == "pipeline.sweeps.plugins"
    assert made.settings == {"key": 1}


def test_hydra_rejects_a_plugin_under_its_own_module():
    # `plugins.register` enters names directly for this reason; once this fails, it need not.
    table = Plugins.instance().class_name_to_class
    true_name = f"{RayLauncher.__module__}.{RayLauncher.__name__}"
    Plugins.instance().register(RayLauncher)
    try:
        assert table[true_name] is RayLauncher
        with pytest.raises(RuntimeError, match="not the hydra_plugins package"):
            Plugins.instance()._instantiate(OmegaConf.create({"_target_": true_name}))
    finally:
        del table[true_name]
        for classes in Plugins.instance().plugin_type_to_subclass_list.values():
            classes[:] = [plugin for plugin in classes if plugin is not RayLauncher]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_default_settings_of_a_launcher_are_valid(launcher):
    target, config_type = LAUNCHERS[launcher]
    values = settings(launcher)
    assert values["_target_"] == target
    config = read_launcher_config(config_type, values)
    assert vars(config).keys() == {key for key in values if not key.startswith("_")}


@pytest.mark.parametrize(
    ("launcher", "key", "value"),
    [
        ("ray_cluster", "num_cpus", 0),
        ("ray_cluster", "memory_gb", "much"),
        ("slurm", "timeout_min", -1),
        ("slurm", "setup", "module load cuda"),
    ],
)
def test_an_invalid_setting_is_named(launcher, key, value):
    with pytest.raises(UserError, match=rf"hydra\.launcher\.{key}: expected .*Received: .*{value}"):
        read_launcher_config(LAUNCHERS[launcher][1], settings(launcher) | {key: value})


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("uri", [None, "sqlite:////data/mlflow.db", "./mlruns", "file:///data"])
def test_a_local_store_is_rejected(launcher, uri):
    with pytest.raises(UserError) as error:
        prepare_launcher(sweep_config(launcher, uri))
    message = str(error.value)
    for word in ("mlflow server", "postgresql", "--artifacts-destination", "--app-name basic-auth"):
        assert word in message
    assert "--allowed-hosts" in message
    assert "tracking.checkpoint_dir" in message


def test_a_local_store_is_rejected_before_anything_starts(tmp_path):
    process = subprocess.run(
        [
            *[sys.executable, "-m", "pipeline", "--multirun", "hydra/launcher=slurm", "seed=1,2"],
            f"tracking.uri=sqlite:///{tmp_path}/store/mlflow.db",
            f"hydra.sweep.dir={tmp_path}/out",
        ],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2
    assert server_command("HOST").splitlines()[1] in process.stderr
    assert not list(tmp_path.iterdir())


def test_mlflow_has_the_options_of_the_server_command():
    from mlflow.cli import server

    words = shlex.split(server_command("tracking.example"))
    options = {option for parameter in server.params for option in parameter.opts}
    assert words[:2] == ["mlflow", "server"]
    assert {word for word in words if word.startswith("--")} <= options


def test_the_docs_show_the_same_server_command():
    assert server_command("tracking.example") in DOCS


@pytest.mark.parametrize(
    "command", re.findall(r"^python -m pipeline (.*)$", DOCS.replace("\\\n", ""), re.MULTILINE)
)
def test_every_command_of_the_docs_is_valid(command, make_config):
    words = [word for word in shlex.split(command) if word != "--multirun"]
    first_options = [re.sub(r"=(\[.*?\]),.*", r"=\1", word) for word in words]
    make_config(*(re.sub(r"range\(\d+\)", "1", word) for word in first_options))


def test_a_missing_package_or_command_is_named_with_its_installation(monkeypatch, tmp_path):
    monkeypatch.setattr(plugins, "find_spec", lambda name: None)
    for launcher, extra in (("ray_cluster", "ray"), ("slurm", "slurm")):
        with pytest.raises(UserError, match=re.escape(f"pip install 'manyfold[{extra}]'")):
            prepare_launcher(sweep_config(launcher, "http://tracking.example:5000"))
    monkeypatch.setattr(plugins, "find_spec", lambda name: name)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"Missing: sbatch, srun, scancel\. .* login node"):
        prepare_launcher(sweep_config("slurm", "http://tracking.example:5000"))


def test_other_launchers_are_not_checked():
    prepare_launcher(OmegaConf.create({"hydra": {"launcher": {"_target_": "hydra.BasicLauncher"}}}))
