"""Fixtures that several test modules share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from hydra import compose, initialize_config_dir

from pipeline.config.compose import parse_config
from pipeline.config.schema import Config
from pipeline.runtime import CONF_DIR, mlruns


@pytest.fixture(scope="session", autouse=True)
def _resolver() -> None:
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("mlruns", lambda: str(mlruns()), replace=True)


@pytest.fixture(scope="session")
def make_config():
    """Compose a configuration as the command line does."""

    def make(*overrides: str) -> Config:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            return parse_config(compose("config", overrides=list(overrides)))

    return make


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Keep scikit-learn to one thread, as the trainer does; on a busy machine many wait long."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data sets beside the checkout."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MANYFOLD_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not beside this checkout: {folder}")
    return folder
