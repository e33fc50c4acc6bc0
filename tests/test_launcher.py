"""The launchers of jobs on other machines, as far as they need none."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from pipeline.errors import UserError
from pipeline.runtime import CONF_DIR
from pipeline.sweeps import plugins
from pipeline.sweeps.plugins import RAY, SLURM, make_ready, server_command
from pipeline.sweeps.plugins import register_launchers as register
from pipeline.sweeps.ray_cluster import read_ray
from pipeline.sweeps.slurm import read_slurm

DOCS = (Path(__file__).parents[1] / "docs" / "scale-out.md").read_text()
LAUNCHERS = {"ray_cluster": (RAY, read_ray), "slurm": (SLURM, read_slurm)}


def settings(launcher: str) -> dict:
    given = OmegaConf.load(CONF_DIR / "hydra" / "launcher" / f"{launcher}.yaml")
    if launcher == "slurm":
        given.folder = "somewhere"
    return OmegaConf.to_container(given)


def composed(launcher: str, uri: str | None, **changed):
    return OmegaConf.create(
        {
            "hydra": {
                "launcher": settings(launcher) | changed,
                "runtime": {"choices": {"hydra/launcher": launcher}},
            },
            "tracking": {"uri": uri},
        }
    )


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_hydra_finds_it_and_its_settings_are_read(launcher):
    target, read = LAUNCHERS[launcher]
    register()
    given = settings(launcher)
    made = Plugins.instance()._instantiate(OmegaConf.create(given))
    assert given["_target_"] == target
    assert vars(read(made.settings)).keys() == {it for it in given if not it.startswith("_")}


@pytest.mark.parametrize(
    ("launcher", "key", "value"),
    [
        ("ray_cluster", "num_cpus", 0),
        ("ray_cluster", "memory_gb", "much"),
        ("slurm", "timeout_min", -1),
        ("slurm", "setup", "module load cuda"),
    ],
)
def test_an_impossible_setting_is_named(launcher, key, value):
    with pytest.raises(UserError, match=rf"hydra\.launcher\.{key}: expected .*Received: .*{value}"):
        LAUNCHERS[launcher][1](settings(launcher) | {key: value})


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("uri", [None, "sqlite:////data/mlflow.db", "./mlruns", "file:///data"])
def test_a_store_of_one_machine_is_refused(launcher, uri):
    with pytest.raises(UserError) as refused:
        make_ready(composed(launcher, uri))
    message = str(refused.value)
    for word in ("mlflow server", "postgresql", "--artifacts-destination", "--app-name basic-auth"):
        assert word in message
    assert "--allowed-hosts" in message
    assert "tracking.checkpoints" in message


def test_the_command_line_refuses_before_anything_starts(tmp_path):
    done = subprocess.run(
        [
            *[sys.executable, "-m", "pipeline", "--multirun", "hydra/launcher=slurm", "seed=1,2"],
            f"tracking.uri=sqlite:///{tmp_path}/store/mlflow.db",
            f"hydra.sweep.dir={tmp_path}/out",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert server_command("HOST").splitlines()[1] in done.stderr
    assert not list(tmp_path.iterdir())


def test_mlflow_takes_the_options_of_that_command():
    from mlflow.cli import server

    words = shlex.split(server_command("tracking.example"))
    options = {option for parameter in server.params for option in parameter.opts}
    assert words[:2] == ["mlflow", "server"]
    assert {word for word in words if word.startswith("--")} <= options


def test_the_guide_says_the_same():
    assert server_command("tracking.example") in DOCS


@pytest.mark.parametrize(
    "command", re.findall(r"^python -m pipeline (.*)$", DOCS.replace("\\\n", ""), re.MULTILINE)
)
def test_every_command_of_the_guide_is_one_the_program_takes(command, make_config):
    words = [word for word in shlex.split(command) if word != "--multirun"]
    first = [re.sub(r"=(\[.*?\]),.*", r"=\1", word).replace("range(10)", "1") for word in words]
    make_config(*(word.replace("range(4)", "1") for word in first))


def test_what_is_missing_is_named_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(plugins, "find_spec", lambda name: None)
    for launcher, extra in (("ray_cluster", "ray"), ("slurm", "slurm")):
        with pytest.raises(UserError, match=re.escape(f"pip install 'manyfold[{extra}]'")):
            make_ready(composed(launcher, "http://tracking.example:5000"))
    monkeypatch.setattr(plugins, "find_spec", lambda name: name)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"Missing: sbatch, srun, scancel\. .* login node"):
        make_ready(composed("slurm", "http://tracking.example:5000"))


def test_other_launchers_are_left_alone():
    make_ready(OmegaConf.create({"hydra": {"launcher": {"_target_": "hydra.BasicLauncher"}}}))
