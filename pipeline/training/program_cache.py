"""Keep compiled programs on disk, so that later processes of this machine compile less.

TensorFlow reads and writes its persistent cache without checks: a file that another process is
writing, or that is damaged, ends the training or crashes it. So each process has a folder of its
own below that of the user. It begins with links to all programs whose SHA-256 is that of their
name, and gives its new programs to the other processes once they are complete. Traced graphs, which
Manyfold reads and writes itself, lie beside the programs.
"""

import atexit
import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from pipeline.cache_folder import VARIABLE, find_cache, make_private, newest_first
from pipeline.runtime import THREAD_VARIABLES, n_cores

MAX_BYTES = 2**26  # of the programs and traced graphs of one kind of machine
MAX_MACHINES = 8  # versions of TensorFlow, processors and settings with programs of their own
MIN_FREE_BYTES = 2**28  # TensorFlow cannot train if it fails to write a program
SECONDS_UNUSED = 86_400  # after which the folder of a process that was killed is removed
SETTINGS = ("XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS", *THREAD_VARIABLES)  # that change native code
_OPTION = "--tf_xla_persistent_cache_directory="
# Folders of machines and keys of programs name neither the GPU nor `training.deterministic`.
_DEVICES = "--tf_xla_persistent_cache_device_types=CPU"
_PROCESS = "process-"
_TRACE = ".trace."
_own: dict[int, Path] = {}  # folder of this process, by its id, which a fork changes


def enable_program_cache() -> list[str]:
    """Let TensorFlow read and write compiled programs; call it before TensorFlow is imported.

    The programs are native code, so only folders that belong to the user alone are used.

    Returns:
        A warning if the programs cannot be kept.
    """
    flags = os.environ.get("TF_XLA_FLAGS", "")
    root = find_cache("programs")
    if os.getpid() in _own or root is None or sys.platform == "win32":
        return []
    of_parent = rf"{_DEVICES} {_OPTION}{re.escape(str(root))}\S*"
    flags = re.sub(of_parent, "", flags).strip()
    if _OPTION in flags:
        return []
    try:
        folder = root / _machine(flags)
        make_private(root)
        make_private(folder)
        if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
            return []
        _clean(root, folder)
        own = Path(tempfile.mkdtemp(prefix=_PROCESS, dir=folder))
        _link_programs(folder, own)
    except OSError as error:
        return [f"compiled programs are not kept for later runs: {error} ({VARIABLE}=off)"]
    _own[os.getpid()] = own
    os.environ["TF_XLA_FLAGS"] = f"{flags} {_DEVICES} {_OPTION}{own}".strip()
    # Of each program read, TensorFlow logs two errors that are none: the file is not text, and
    # tuning options are no features of the processor. Errors of its own raise exceptions too.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return []


def save_programs() -> None:
    """Give the programs that this process has compiled to later processes."""
    own = _own.get(os.getpid())
    if own is None:
        return
    with suppress(OSError):  # a full disk, or a folder that the user has removed meanwhile
        for path in own.glob("*.pb"):
            if path.stat().st_nlink == 1:
                os.link(path, own.parent / f"{path.name}.{_digest(path)}")


def is_of_cache(error: Exception) -> bool:
    """Return whether an error of TensorFlow is about the programs that it keeps."""
    return os.getpid() in _own and str(_own[os.getpid()]) in str(error)


def read_trace(name: str) -> bytes | None:
    """Return the traced graph of a program that this or another process has kept."""
    own = _own.get(os.getpid())
    if own is None:
        return None
    for path in own.parent.glob(f"{name}{_TRACE}*"):
        with suppress(OSError):  # another process has removed it
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == path.suffix[1:]:
                return content
            path.unlink()
    return None


def write_trace(name: str, content: bytes) -> None:
    """Keep the traced graph of a program for later processes."""
    own = _own.get(os.getpid())
    if own is None:
        return
    with suppress(OSError):  # as in `save_programs`
        path = own / name
        path.write_bytes(content)
        path.rename(own.parent / f"{name}{_TRACE}{hashlib.sha256(content).hexdigest()}")


def _machine(flags: str) -> str:
    """Return a name for what native code depends on: TensorFlow, processor and settings."""
    parts = [version("tensorflow"), version("keras"), platform.machine(), str(n_cores()), flags]
    parts += [f"{name}={os.environ.get(name)}" for name in SETTINGS]
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
        parts += [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    except OSError:  # not Linux
        parts += [platform.platform(), platform.processor(), platform.node()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _clean(root: Path, folder: Path) -> None:
    """Remove the oldest files beyond the limits, and what killed processes have left."""
    os.utime(folder)
    for path, _ in newest_first(root)[MAX_MACHINES:]:
        shutil.rmtree(path, ignore_errors=True)
    n_bytes = 0
    for path, state in newest_first(folder):
        if path.name.startswith(_PROCESS):
            if time.time() - state.st_mtime > SECONDS_UNUSED:
                shutil.rmtree(path, ignore_errors=True)
            continue
        n_bytes += state.st_size
        if n_bytes > MAX_BYTES:
            path.unlink(missing_ok=True)


def _link_programs(folder: Path, own: Path) -> None:
    """Link the undamaged programs into the folder of this process, and remove all others."""
    for path in folder.glob("*.pb.*"):
        name, _, digest = path.name.rpartition(".")
        with suppress(FileNotFoundError):  # another process has removed it
            if _digest(path) == digest:
                with suppress(FileExistsError):  # two processes have compiled the same program
                    os.link(path, own / name)
            else:
                path.unlink()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
