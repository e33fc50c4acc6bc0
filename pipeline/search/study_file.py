"""The files that keep studies beside the MLflow store: one each, a line of JSON per event.

The format is that of Optuna's own journal files, which its dashboard reads.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import BaseJournalBackend, JournalStorage

from pipeline.errors import UserError
from pipeline.search.objective import Objective


class StudyFile(BaseJournalBackend):
    """One study's journal, in the hands of one process.

    What is written is on disk when `append_logs` returns, whole or, on a full disk, not at all.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and keep other processes out until `close`.

        Raises:
            UserError: If another process has it.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - see close
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UserError(
                f"resume: expected a search that has ended. Received: {path.stem}, which another "
                "process is running."
            ) from error
        self._file.seek(0)
        written, _, torn = self._file.read().rpartition(b"\n")
        self._size = self._file.tell() - len(torn)
        self._file.truncate(self._size)
        self._logs = [json.loads(line) for line in written.splitlines()]

    def close(self) -> None:
        """Let other processes have the file."""
        self._file.close()

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Return the events from that number on."""
        return iter(self._logs[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write events."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        try:
            if self._file.write(lines) != len(lines):
                raise OSError(f"{self.path}: the disk is full")
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self._size)
            raise
        self._size += len(lines)
        self._logs += [json.loads(line) for line in lines.splitlines()]


def open_study(path: Path, objectives: Sequence[Objective]) -> tuple[StudyFile, optuna.Study]:
    """Return the study that a file keeps, and the file; both are new where it is not there.

    Args:
        path: The file.
        objectives: What is made better.

    Raises:
        UserError: If another process uses it.
    """
    file = StudyFile(path)
    study = optuna.create_study(
        storage=JournalStorage(file),
        study_name=path.stem,
        directions=[objective.direction for objective in objectives],
        load_if_exists=True,
    )
    return file, study
