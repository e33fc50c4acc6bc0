"""Fixtures that several test modules share."""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["MANYFOLD_CACHE_DIR"] = "off"  # tests depend on no earlier run
# XLA reads it once, and any test can be the first that compiles.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
)

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from pipeline.config.compose import parse_config
from pipeline.config.schema import Config
from pipeline.runtime import CONF_DIR, mlruns

# A busy machine can take longer than Hypothesis's deadline of 0.2 s for any example.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

# The slowest test modules, slowest first, so that two processes end at about the same time.
SLOWEST = (
    *("test_scale.py", "test_sweep.py", "test_credentials.py", "test_keras_trainer.py"),
    *("test_slurm.py", "test_figures.py", "test_compiled_function.py", "test_api.py"),
    *("test_tabular_networks.py", "test_logged_model.py", "test_sparse_network.py"),
    *("test_keras_models.py", "test_memory_plan.py", "test_job.py", "test_stored_report.py"),
    *("test_interrupts.py", "test_batch_loss.py", "test_export.py", "test_early_stopping.py"),
    *("test_search.py", "test_racing.py", "test_importance.py", "test_notebook.py"),
    *("test_job_sklearn.py", "test_prepared_job.py", "test_environment.py"),
    *("test_selection.py", "test_evaluator.py", "test_keras_backend.py", "test_promote.py"),
    *("test_predict.py", "test_program_cache.py", "test_compare.py", "test_ui.py"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option that divides the modules among processes that end in between."""
    parser.addoption("--part", default="1/1", help="run a part of the test modules: 1/2 or 2/2")


@cache
def _modules(config: pytest.Config) -> list[str]:
    """Return the test modules of the part to run, the slowest first."""
    names = sorted(it.name for it in Path(__file__).parent.glob("test_*.py"))
    names.sort(key=lambda name: SLOWEST.index(name) if name in SLOWEST else len(SLOWEST))
    part, n_parts = map(int, config.getoption("--part").split("/"))
    return names[part - 1 :: n_parts]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no module of another part."""
    is_module = collection_path.match("test_*.py")
    return True if is_module and collection_path.name not in _modules(config) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Move the slowest test modules to the front, and drop those of another part."""
    modules = _modules(config)
    dropped = [item for item in items if item.path.name not in modules]  # named in the command
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item.path.name in modules]
    items.sort(key=lambda item: modules.index(item.path.name))


def pytest_collection_finish() -> None:
    """Leave what is imported out of garbage collections; with TensorFlow one takes a second."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="module", autouse=True)
def _free_programs() -> Iterator[None]:
    """Free the memory of compiled programs after each test module."""
    yield
    cached_programs = sys.modules.get("pipeline.training.cached_programs")
    if cached_programs and cached_programs._cache:
        cached_programs._cache.clear()
        sys.modules["keras"].backend.clear_session()
        gc.collect()
        with suppress(AttributeError):  # macOS has no such function
            ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(autouse=True)
def _restored_path() -> Iterator[None]:
    """Restore the path of modules, to which MLflow adds the folder of a loaded model's code."""
    path = sys.path.copy()
    yield
    sys.path[:] = path


@pytest.fixture(scope="session", autouse=True)
def _no_logging_of_hydra() -> Iterator[None]:
    """Keep Hydra from closing all log handlers, and with that of absl the output of pytest."""
    with patch("hydra._internal.logging_config.configure_logging"):
        yield


@pytest.fixture(scope="session", autouse=True)
def _resolver() -> None:
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("mlruns", lambda: str(mlruns()), replace=True)


@cache
def _compose(*options: str) -> DictConfig:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose("config", overrides=list(options))


@pytest.fixture(scope="session")
def make_config():
    """Compose a configuration as the command line does.

    Hydra takes 0.1 s for the options of the groups, so these are composed once; it applies the
    other overrides to copies.
    """
    parser = OverridesParser.create()

    def make(*overrides: str) -> Config:
        options = [
            it
            for it in overrides
            if it.startswith("hydra") or (CONF_DIR / it.partition("=")[0]).is_dir()
        ]
        composed = deepcopy(_compose(*options))
        others = [it for it in overrides if it not in options]
        ConfigLoaderImpl._apply_overrides_to_config(parser.parse_overrides(others), composed)
        return parse_config(composed)

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


@pytest.fixture(scope="session")
def shared_rows():
    """Features of shape (90, 4) and three noisy labels of them, of shape (90, 3)."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(90, 4)).astype(np.float32)
    y = (X[:, :3] + rng.normal(size=(90, 3)) > 0.2).astype(np.int8)
    return X, y


@pytest.fixture
def rows(shared_rows):
    """Copies of `shared_rows`, which a test may change."""
    X, y = shared_rows
    return X.copy(), y.copy()
