"""Project paths, CPU share, heavy imports and user callables."""

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread
from typing import Any

from pipeline.errors import UserError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent if (_PACKAGE.parent / "conf" / "config.yaml").is_file() else None
CONF_DIR = (_CHECKOUT or _PACKAGE) / "conf"


def mlruns() -> Path:
    """Return the folder of results: the checkout's, or one in the working directory."""
    return (_CHECKOUT or Path.cwd()) / "mlruns"


CORES_VARIABLE = "MANYFOLD_CORES"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def n_cores() -> int:
    """Return the share of a job in a parallel sweep, or all cores that this process may run on."""
    return int(os.environ.get(CORES_VARIABLE, 0)) or _all()


def divide_cores(n_jobs: int) -> None:
    """Leave this process its share of the cores; to be called before anything heavy is imported.

    TensorFlow, scikit-learn and the libraries below them read theirs from the environment, once.
    What the user has set there stays.

    Args:
        n_jobs: Jobs that run at once on these cores.
    """
    use_cores(max(1, _all() // n_jobs))


def use_cores(n: int) -> None:
    """Keep this process to so many cores; to be called before anything heavy is imported."""
    for variable, value in as_variables(n).items():
        os.environ.setdefault(variable, value)
    os.environ[CORES_VARIABLE] = str(n)


def as_variables(n: int) -> dict[str, str]:
    """Return the environment variables that keep a process to so many cores."""
    return dict.fromkeys((CORES_VARIABLE, *THREAD_VARIABLES), str(n))


def is_shared() -> bool:
    """Return whether this process is one of several that share the cores, and the screen."""
    return CORES_VARIABLE in os.environ


def _all() -> int:
    return len(os.sched_getaffinity(0))


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Import without garbage collection, then leave what was imported out of it for good.

    TensorFlow and MLflow make a million objects that live to the end; walking them again and again
    costs 1.4 s of 5.8 s at the import and another 1.2 s at the exit.
    """
    known = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:  # not for the later jobs of a sweep, whose garbage must go
            gc.freeze()
        gc.enable()


def import_tensorflow() -> None:
    """Import TensorFlow without the lines that its C++ writes to the error stream meanwhile.

    They come before any setting can silence them. Should the import fail, they are shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _held_back_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for a GPU, and says so where there is none
    tf.get_logger().setLevel(logging.ERROR)


@contextmanager
def _held_back_stderr() -> Iterator[None]:
    with TemporaryFile() as held_back:
        stderr = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def import_callable(key: str, path: str) -> Callable[..., Any]:
    """Return the callable at a dotted path such as `my_module.build`.

    Args:
        key: The configuration key that names it, for the message.
        path: Module and attribute; the module may lie in the working directory.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{key}: expected the dotted path of a callable, module.name. Received: {path!r} "
            f"({error}). The module must be importable: in the working directory or installed."
        ) from error
    except Exception as error:  # whatever the user's module does when it is imported
        raise UserError(
            f"{key}: expected {path!r} to be importable. Received: {type(error).__name__}: {error}"
        ) from error
    if not callable(found):
        raise UserError(
            f"{key}: expected a callable. Received: {path!r}, a {type(found).__name__}."
        )
    return found  # type: ignore[no-any-return]


SECONDS_TO_END = 5  # for a process whose parent is gone


@cache
def end_with_parent() -> None:
    """Let this process end soon after its parent, however that ends; once is enough.

    SIGTERM comes first, for a run that is under way to be marked.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_END)
        os._exit(128 + signal.SIGTERM)

    Thread(target=watch, daemon=True).start()
