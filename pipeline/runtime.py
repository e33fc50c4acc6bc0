"""Project paths, CPU cores, memory, heavy imports and written files."""

import gc
import logging
import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread

from pipeline.errors import UserError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent if (_PACKAGE.parent / "conf" / "config.yaml").is_file() else None
CONF_DIR = (_CHECKOUT or _PACKAGE) / "conf"


def mlruns() -> Path:
    """Return the folder of results, in the checkout or else in the working directory."""
    return (_CHECKOUT or Path.cwd()) / "mlruns"


CORES_VARIABLE = "MANYFOLD_CORES"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
CGROUP = Path("/sys/fs/cgroup")  # of Linux; limits the CPU time and memory of containers
PROC = Path("/proc")  # of Linux
_FILE_CACHES = ("inactive_file", "active_file")


def n_cores() -> int:
    """Return the number of cores of this job in a parallel sweep, or of this process."""
    return int(os.environ.get(CORES_VARIABLE, 0)) or _available_cores()


def divide_cores(n_jobs: int) -> None:
    """Limit this process to its part of the cores.

    Call it before heavy imports: TensorFlow, scikit-learn and the libraries below them read the
    environment once. Variables that the user has set are kept.
    """
    limit_cores(max(1, _available_cores() // n_jobs))


def limit_cores(n: int) -> None:
    """Limit this process to a number of cores; call it before heavy imports."""
    for variable, value in core_variables(n).items():
        os.environ.setdefault(variable, value)
    os.environ[CORES_VARIABLE] = str(n)


def core_variables(n: int) -> dict[str, str]:
    """Return the environment variables that limit a process to a number of cores."""
    return dict.fromkeys((CORES_VARIABLE, *THREAD_VARIABLES), str(n))


def is_parallel_job() -> bool:
    """Return whether this process is one of several that share the cores and the terminal."""
    return CORES_VARIABLE in os.environ


def _available_cores() -> int:
    """Return the number of usable cores, as joblib counts them.

    joblib itself would import NumPy, too early for the variables above to have an effect.
    """
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    else:  # macOS
        usable = os.cpu_count() or 1
    return max(1, min(usable, _cpu_quota() or usable))


def _cpu_quota() -> int | None:
    """Return the CPU quota of the container in cores, rounded up, or None without a quota."""
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:  # version 1 of cgroups
            quota = (CGROUP / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (CGROUP / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not (quota.isdigit() and int(period) > 0):  # "max" or -1: no quota
        return None
    return math.ceil(int(quota) / int(period))


def available_memory() -> int:
    """Return the bytes that this process can use without swapping or exceeding a limit.

    Allocating them is no test: systems that overcommit memory grant any amount, and kill the
    process when it uses it.
    """
    try:
        lines = (PROC / "meminfo").read_text().splitlines()
        free = 1024 * next(int(it.split()[1]) for it in lines if it.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # macOS
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(0, min([free, *_cgroup_memory()]))


def _cgroup_memory() -> Iterator[int]:
    """Yield the bytes that are left of each memory limit of this process's control groups."""
    try:
        lines = (PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, names = CGROUP, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):  # version 1 of cgroups
            root, names = CGROUP / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):
            group = root.joinpath(*parts[:depth])
            try:
                limit, used = (int((group / name).read_text()) for name in names)
                usage = dict(it.split() for it in (group / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):  # no limit, or a group outside the container
                continue
            # Cached files count as used, but give way to the process.
            cached = [usage.get(f"total_{it}", usage.get(it, 0)) for it in _FILE_CACHES]
            yield limit - used + sum(map(int, cached))


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Switch garbage collection off during imports, and exempt the imported objects from it.

    TensorFlow and MLflow create a million objects that live until the exit; traversing them costs
    1.4 s of 5.8 s at the import and another 1.2 s at the exit.
    """
    n_modules = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > n_modules:  # later jobs of a sweep import nothing, but have garbage
            gc.freeze()
        gc.enable()


def import_tensorflow() -> None:
    """Import TensorFlow without the log lines of its C++ code, unless the import fails.

    Its settings cannot silence them, as they are written before TensorFlow reads the settings.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _buffered_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()  # logs the search for a GPU
    tf.get_logger().setLevel(logging.ERROR)


@contextmanager
def _buffered_stderr() -> Iterator[None]:
    with TemporaryFile() as buffer:
        stderr = os.dup(2)
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        except BaseException:
            buffer.seek(0)
            os.write(stderr, buffer.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


SECONDS_TO_END = 5  # from SIGTERM to the exit of a process whose parent has ended


@cache
def end_with_parent() -> None:
    """End this process soon after its parent ends, even if the parent is killed.

    The process first receives SIGTERM, so that it can end its MLflow run.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_END)
        os._exit(128 + signal.SIGTERM)

    Thread(target=watch, daemon=True).start()


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name beside it, then rename it; missing folders are made.

    Raises:
        UserError: If the file cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"Expected a file that can be written. Received: {path} ({error})"
        ) from error


def own_command(*arguments: str) -> str:
    """Return a command of this program for this Python, quoted for a shell."""
    return shlex.join([relative_path(Path(sys.executable)), "-m", "pipeline", *arguments])


def relative_path(path: Path) -> str:
    """Return the path from the working directory if it is below it, else the absolute path."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
