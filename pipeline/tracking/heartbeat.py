"""Heartbeats of runs, and whether the process of a run is alive."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import mlflow

from pipeline.errors import UserError
from pipeline.runtime import raise_interrupt

if TYPE_CHECKING:
    from pipeline.tracking.run_reader import RunRecord

NO_SUCH_PROCESS = ""
PROCESS = "process"  # tag: id of the process that works on the run
SEEN = "seen"  # tag: time of the last heartbeat
SECONDS_BETWEEN_HEARTBEATS = 30
SECONDS_TO_LISTEN = 120  # without a heartbeat, a process on another host counts as dead
SECONDS_BETWEEN_LOOKS = 2.0


class RunActiveError(UserError):
    """Another process works on the same run."""


def this_process() -> str:
    """Return a globally unique id for this process."""
    return f"{socket.gethostname()} {os.getpid()} {_start_time(os.getpid())}"


def is_process_running(process: str) -> bool | None:
    """Return whether a process is still running; None if it belongs to another host."""
    host, pid, started = process.rsplit(" ", 2)
    if host != socket.gethostname():
        return None
    return _start_time(int(pid)) == started


def describe_process(process: str) -> str:
    """Format the id of a process for a message: `process 1234 on host`."""
    host, pid, _ = process.rsplit(" ", 2)
    return f"process {pid} on {host}"


@contextmanager
def send_heartbeats(run_id: str) -> Iterator[None]:
    """Send a heartbeat to a run every 30 s, for processes on other hosts to see."""
    client, stopped = mlflow.MlflowClient(), Event()

    def send() -> None:
        while not stopped.wait(SECONDS_BETWEEN_HEARTBEATS):
            with suppress(Exception):  # a busy or unreachable store gets the next heartbeat
                client.set_tag(run_id, SEEN, f"{time.time():.0f}")

    Thread(target=send, daemon=True).start()
    try:
        yield
    finally:
        stopped.set()


def is_active(run: "RunRecord") -> bool:
    """Return whether a process is still working on a run; may listen to it for two minutes."""
    return bool(find_active([run]))


def find_active(runs: Sequence["RunRecord"]) -> set[str]:
    """Return the ids of the runs on which processes are still working.

    A process of another host sends heartbeats. The time in them is that of its own clock, which
    may differ from the one here, so this listens until the next one arrives.
    """
    active, remote = set(), {}
    for run in runs:
        process = run.tags.get(PROCESS)
        is_running = is_process_running(process) if process else None
        if run.status == "RUNNING" and is_running is None:
            remote[run.run_id] = run.tags.get(SEEN)
        elif run.status == "RUNNING" and is_running:
            active.add(run.run_id)
    client, deadline = mlflow.MlflowClient(), time.monotonic() + SECONDS_TO_LISTEN
    while remote and time.monotonic() < deadline:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        raise_interrupt()
        for run_id, seen in [*remote.items()]:
            now = client.get_run(run_id)
            if now.info.status != "RUNNING" or now.data.tags.get(SEEN) != seen:
                del remote[run_id]
                if now.info.status == "RUNNING":
                    active.add(run_id)
    return active


def _start_time(pid: int) -> str:
    """Return the start time of a process, which distinguishes it from later ones of its number."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return NO_SUCH_PROCESS
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return "_".join(lines.split()) or NO_SUCH_PROCESS
    except ProcessLookupError:
        return NO_SUCH_PROCESS
    state, *fields = stat.rpartition(")")[2].split()  # the name in parentheses may hold anything
    return NO_SUCH_PROCESS if state in "ZX" else f"{boot[:8]}-{fields[18]}"
