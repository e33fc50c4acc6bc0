"""Processes: which one this is, whether another still lives, and ending with the one above."""

import os
import signal
import socket
import subprocess
import time
from functools import cache
from pathlib import Path
from threading import Thread

SECONDS_TO_END = 5  # for a process whose parent is gone
GONE = ""


def this_process() -> str:
    """Return what no other process is called, on this host or another, now or later."""
    return f"{socket.gethostname()} {os.getpid()} {_started(os.getpid())}"


def lives(process: str) -> bool | None:
    """Return whether a process still runs; None if only another host could tell.

    Args:
        process: What `this_process` called it.
    """
    host, pid, started = process.rsplit(" ", 2)
    if host != socket.gethostname():
        return None
    return _started(int(pid)) == started


def in_words(process: str) -> str:
    """Return a process as a person would name it: `process 1234 on host`."""
    host, pid, _ = process.rsplit(" ", 2)
    return f"process {pid} on {host}"


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
