"""Project paths, CPU cores, imports, written files, signals and the end of a process."""

import ctypes
import gc
import math
import os
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from threading import Thread, current_thread, main_thread
from types import FrameType

from pipeline.errors import UserError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent if (_PACKAGE.parent / "conf" / "config.yaml").is_file() else None
CONF_DIR = (_CHECKOUT or _PACKAGE) / "conf"


def mlruns() -> Path:
    """Return the folder of results, in the checkout or else in the working directory."""
    return (_CHECKOUT or Path.cwd()) / "mlruns"


CORES_VARIABLE = "MANYFOLD_CORES"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
PROC = Path("/proc")  # of Linux
CGROUP = Path("/sys/fs/cgroup")  # of Linux; limits the CPU time and memory of containers


def n_cores() -> int:
    """Return the number of cores of this job in a parallel sweep, or of this process."""
    return int(os.environ.get(CORES_VARIABLE, 0)) or _available_cores()


def core_fraction() -> float:
    """Return the fraction of the usable cores that this job has: 1 unless jobs run in parallel."""
    return min(1.0, n_cores() / _available_cores())


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


def release_memory() -> None:
    """Return freed memory to the system; the allocator of Linux would keep most of it."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)


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
    """Return the least CPU quota of the control groups in cores, rounded up; None without one."""
    quotas = []
    for group, version in control_groups("cpu"):
        names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        try:
            quota, period = " ".join((group / name).read_text() for name in names).split()
        except (OSError, ValueError):  # no limit, or a group outside the container
            continue
        if quota.isdigit() and int(period) > 0:  # else "max" or -1: no quota
            quotas.append(math.ceil(int(quota) / int(period)))
    return min(quotas, default=None)


def control_groups(controller: str) -> Iterator[tuple[Path, int]]:
    """Yield the folders of this process's control groups that limit it, from the root.

    The number beside each is the version of cgroups, 1 or 2.

    Args:
        controller: Name of the limited resource, cpu or memory.
    """
    try:
        lines = (PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root, version = (CGROUP / controller, 1) if controllers else (CGROUP, 2)
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):
            yield root.joinpath(*parts[:depth]), version


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Switch garbage collection off during imports, and exempt the imported objects from it.

    TensorFlow and MLflow create a million objects that live until the exit; traversing them costs
    1.4 s of 5.8 s at the import and another 1.2 s at the exit.
    """
    n_modules = len(sys.modules)
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "IProgress not found")  # of tqdm, in notebooks
            yield
    finally:
        if len(sys.modules) > n_modules:  # later jobs of a sweep import nothing, but have garbage
            gc.freeze()
        gc.enable()


def escape_unprintable() -> None:
    """Print characters that the encoding of the terminal lacks as escapes, as in LANG=C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


SIGNALS = (signal.SIGINT, signal.SIGTERM)
AT_ONCE = b"Ended at once. Unfinished runs stay RUNNING until resume=true continues them.\n"


class _State:
    """The signals of this process."""

    is_handled = False  # by `handle_signals`
    first: int | None = None
    is_pending = False  # the first one arrived during a write and has not been raised yet
    n_writes = 0  # number of `uninterrupted` blocks around the running code


@contextmanager
def handle_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt or SystemExit after a signal; after a second Ctrl-C, end at once.

    The signals belong to the outermost block. Other threads than the main one get none.
    """
    if _State.is_handled or current_thread() is not main_thread():
        yield
        return
    previous = {}
    _State.is_handled, _State.first, _State.is_pending = True, None, False
    try:
        for signum in SIGNALS:
            previous[signum] = signal.signal(signum, _receive)
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
        _State.is_handled = False


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay signals until the end of the block, which writes.

    An exception in the middle of a transaction would leave the database locked.
    """
    if current_thread() is not main_thread():
        yield
        return
    _State.n_writes += 1
    try:
        yield
    finally:
        _State.n_writes -= 1
        if _State.is_pending and not _State.n_writes:
            raise_interrupt()


def is_interrupted() -> bool:
    """Return whether a signal arrived; Python drops its exception if a finalizer was running."""
    return _State.first is not None


def raise_interrupt() -> None:
    """Raise the exception for the signal again, if one arrived."""
    _State.is_pending = False
    if _State.first == signal.SIGINT:
        raise KeyboardInterrupt
    if _State.first is not None:
        raise SystemExit(128 + _State.first)


def _receive(signum: int, frame: FrameType | None) -> None:
    if _State.first is None:
        _State.first, _State.is_pending = signum, True
        if not _State.n_writes:
            raise_interrupt()
    elif signum == signal.SIGINT:
        os.write(2, AT_ONCE)
        os._exit(128 + signum)


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


def expand_user(path: str) -> Path:
    """Return a path with the home of its user; a `~` without one is part of a name."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
