"""Write rows that cannot be predicted to a file of JSON lines."""

import json
from pathlib import Path
from types import TracebackType
from typing import TextIO

from pipeline.errors import UserError
from pipeline.prediction.batch import BadRow


class BadRows:
    """A file of JSON lines with row, column, reason and values; made at the first bad row.

    Attributes:
        path: Path of the file.
        n: Number of its rows.
    """

    def __init__(self, path: Path) -> None:
        """Remove the file of a previous prediction."""
        self.path, self.n = path, 0
        self._file: TextIO | None = None
        path.unlink(missing_ok=True)

    def __enter__(self) -> "BadRows":
        """Return the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def add(self, bad: BadRow) -> None:
        """Write a row."""
        values = {"row": bad.row, "column": bad.column, "reason": bad.reason, "values": bad.values}
        try:
            self._file = self._file or self.path.open("w", encoding="utf-8")
            self._file.write(json.dumps(values, default=str, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UserError(
                f"--skip-bad: expected a file that can be written. Received: {self.path} ({error})"
            ) from error
        self.n += 1
