"""Child processes of the benchmark: whole commands, and contestants that take turns."""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any, NamedTuple

from benchmarks.works import Work

ROOT = Path(__file__).parents[1]
TIMEOUT = 300.0  # seconds of one answer of a contestant
COMMAND_TIMEOUT = 600.0  # seconds of a whole command


class Cost(NamedTuple):
    """Time and memory of one process."""

    seconds: float
    megabytes: float
    processor: float  # seconds that the process and its own children kept a core busy


class ContestantError(Exception):
    """A contestant is not installed, failed or took too long."""


def measure(*arguments: str, environment: Mapping[str, str] | None = None) -> Cost:
    """Run Python with these arguments and wait for its end.

    Args:
        arguments: Of the interpreter.
        environment: Variables in addition to those of this process.
    """
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        timer = Timer(COMMAND_TIMEOUT, child.kill)
        timer.start()
        _, status, usage = os.wait4(child.pid, 0)
        timer.cancel()
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)  # already waited for
        if child.returncode:
            output.seek(0)
            code = f"exit code {child.returncode}, after {seconds:.0f} s"
            raise SystemExit(f"{arguments} failed, {code}:\n{output.read().decode()}")
    return Cost(seconds, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)


class Worker:
    """A contestant in a process of its own, which waits for requests."""

    def __init__(
        self,
        module: str,
        work: Work,
        folder: Path,
        settings: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the process and wait until it has read the table.

        Raises:
            ContestantError: If it cannot begin.
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the process
        self._last_line = ""
        arguments = ("-m", "benchmarks.worker")
        self._process = subprocess.Popen(
            [sys.executable, *arguments, module, work.to_json(), str(folder), *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        self.import_memory: float = self._answer()["import_memory"]

    def train(self, fits: Sequence[int], *, prepare: bool = False) -> dict[str, Any]:
        """Return seconds, accuracy of each fit and memory; `prepare` builds and compiles anew.

        Raises:
            ContestantError: If it fails or takes too long.
        """
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it has ended; its answer says why
            request = json.dumps({"prepare": prepare, "fits": list(fits)})
            self._process.stdin.write(request.encode() + b"\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], TIMEOUT)
        line = self._process.stdout.readline() if ready else b""
        answer: dict[str, Any] = json.loads(line) if line else {}
        if line and "error" not in answer:
            return answer
        self.close()
        if not ready:
            raise ContestantError(f"no answer in {TIMEOUT:.0f} s")
        raise ContestantError(answer.get("error") or f"failed: {self._last_line}")

    def close(self) -> None:
        """End the process, by force if it is still busy."""
        if self._errors.closed:
            return
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        code = self._process.returncode
        self._last_line = lines[-1] if code > 0 and lines else f"exit code {code}"
        self._errors.close()
