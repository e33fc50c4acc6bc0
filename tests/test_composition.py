"""The configurations of a sweep's jobs, against those that Hydra composes from all files."""

import inspect
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from omegaconf import OmegaConf

from pipeline import sweeps
from pipeline.runtime import CONF_DIR
from pipeline.sweeps.plugins import BASIC_SWEEPER

OF_SWEEP = ["hydra.job.name=sweep"]
JOBS = [
    ["seed=1", "training.learning_rate=0.1"],
    ["seed=2", "training.learning_rate=0.2", "training.optimizer_params={clipnorm: 1.0}"],
    ["model=tabm", "seed=2"],
    ["model=tabm", "model.dropout=0.5", "tracking.run_name=own"],
    ["experiment=yeast", "cv.n_splits=3", "dataset.path='a=b,c.arff'"],
    ["seed=3", "++seed=4"],
    ["++seed=4", "seed=3"],
    ["training={epochs: 3}", "training.epochs=4"],
    ["~checks", "seed=1"],
    ["seed=1", "training.learning_rate=0.3"],
]


@pytest.fixture
def loader():
    sweeps.register()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def test_each_job_has_the_configuration_that_hydra_composes(loader):
    sweep = loader.load_configuration("config", [*OF_SWEEP, "seed=1,2"], RunMode.MULTIRUN)
    of_sweep = [*OF_SWEEP, "++tracking.parent_run_id=abc"]  # as the parent run sets it
    sweep.hydra.overrides.hydra = of_sweep
    for job in JOBS:
        config = loader.load_sweep_config(sweep, [*job])
        expected = loader.load_configuration("config", [*of_sweep, *job], RunMode.RUN)
        assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(expected)
        assert OmegaConf.is_struct(config)
        config.cv.n_repeats = 99  # of this job alone


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (["seed=1", "sed=2"], "sed"),
        (["seed=1", "training.epoch=2"], "training.epoch"),
        (["seed=1,2"], "Ambiguous"),
    ],
)
def test_an_override_that_hydra_refuses_is_refused(loader, job, message):
    sweep = loader.load_configuration("config", [], RunMode.MULTIRUN)
    with pytest.raises(ConfigCompositionException, match=message):
        loader.load_sweep_config(sweep, job)


def test_the_basic_sweeper_composes_each_option_once_before_the_first_job(tmp_path):
    """Hydra's own `sweep` runs, so that a release which validates otherwise fails here."""
    sweeps.register()
    basic_class = Plugins.instance().class_name_to_class[BASIC_SWEEPER]
    assert basic_class.__mro__[1] is Sweeper
    assert list(inspect.signature(Sweeper.validate_batch_is_legal).parameters) == ["self", "batch"]
    validated, launched = [], []

    def load_sweep_config(master_config, sweep_overrides):
        validated.append(sweep_overrides)

    def launch(batch, initial_job_idx):
        launched.extend(batch)
        return []

    sweeper = basic_class(max_batch_size=None)
    sweeper.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    loader = SimpleNamespace(load_sweep_config=load_sweep_config)
    sweeper.hydra_context = SimpleNamespace(config_loader=loader)
    sweeper.launcher = SimpleNamespace(launch=launch)
    sweeper.sweep(["model=a,b,c", "seed=range(50)", "cv.n_splits=3"])
    assert len(launched) == 150
    assert {override for job in validated for override in job} == {
        override for job in launched for override in job
    }
    assert len(validated) == 50 + 3 - 1


def test_an_option_that_cannot_be_composed_is_found_before_the_first_job():
    sweeps.register()
    basic_class = Plugins.instance().class_name_to_class[BASIC_SWEEPER]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        sweeper = basic_class(max_batch_size=None)
        sweeper.config = compose("config", return_hydra_config=True)
        loader = GlobalHydra.instance().config_loader()
        sweeper.hydra_context = SimpleNamespace(config_loader=loader)
        batch = [["model=mlp", "seed=1"], ["model=mlp", "seed=2"], ["model=mpl", "seed=2"]]
        sweeper.validate_batch_is_legal(batch[:2])
        with pytest.raises(Exception, match="model/mpl"):
            sweeper.validate_batch_is_legal(batch)
