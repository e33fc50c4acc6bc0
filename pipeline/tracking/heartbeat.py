"""Send a heartbeat to the run every minute."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import mlflow
from mlflow.entities import Run

from pipeline.errors import UserError

GONE = ""


def this_process() -> str:
    """Return what no other process is called, on this host or another, now or later."""
    return f"{socket.gethostname()} {os.getpid()} {_started(os.getpid())}"


def is_process_alive(process: str) -> bool | None:
    """Return whether a process still runs; None if only another host could tell.

    Args:
        process: What `this_process` called it.
    """
    host, pid, started = process.rsplit(" ", 2)
    if host != socket.gethostname():
        return None
    return _started(int(pid)) == started


def describe_process(process: str) -> str:
    """Return a process as a person would name it: `process 1234 on host`."""
    host, pid, _ = process.rsplit(" ", 2)
    return f"process {pid} on {host}"


def _started(pid: int) -> str:
    """Return when a process started, in a way that tells it from any other of that number."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return GONE
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return "_".join(lines.split()) or GONE
    except ProcessLookupError:
        return GONE
    state, *fields = stat.rpartition(")")[2].split()  # the name before may hold anything
    return GONE if state in "ZX" else f"{boot[:8]}-{fields[18]}"


PROCESS = "process"  # the tag that names it
SEEN = "seen"  # the tag with the time of its last sign of life
SECONDS_BETWEEN_SIGNS = 60
SECONDS_OF_SILENCE = 300  # after which a process on another host is given up


@contextmanager
def send_heartbeats(run_id: str) -> Iterator[None]:
    """Note in a run, every minute, that its process lives; other hosts cannot look."""
    client, over = mlflow.MlflowClient(), Event()

    def note() -> None:
        while not over.wait(SECONDS_BETWEEN_SIGNS):
            with suppress(Exception):  # the store may be busy, or away; there is a next time
                client.set_tag(run_id, SEEN, f"{time.time():.0f}")

    Thread(target=note, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def is_active(run: Run) -> bool:
    """Return whether a process still works on a run."""
    if run.info.status != "RUNNING":
        return False
    process = run.data.tags.get(PROCESS)
    is_alive = is_process_alive(process) if process else None
    if is_alive is not None:
        return is_alive
    seen = float(run.data.tags.get(SEEN, run.info.start_time / 1000))
    return time.time() - seen < SECONDS_OF_SILENCE


class RunActiveError(UserError):
    """Another process works on the same."""
