"""Read files, with errors that name the path."""

import difflib
import gzip
import os
import zlib
from pathlib import Path

from pipeline.errors import UserError


def find_file(path: str) -> Path:
    """Return the path of a readable file that is not empty.

    Raises:
        UserError: If it is a URL, a directory, missing, not readable or empty.
    """
    if "://" in path:
        raise UserError(
            f"{path}: expected the path of a file on this machine. Received: a URL. Download it "
            "first."
        )
    file = Path(path).expanduser()
    try:
        reason = _find_problem(file)
    except (OSError, ValueError) as error:  # a name too long, a null character
        reason = str(error)
    if reason:
        raise UserError(f"{path}: expected a file that can be read. Received: {reason}.")
    return file


def read_text(path: Path) -> str:
    """Return a UTF-8 file's text, without a byte order mark."""
    return decode(path, read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, decompressed if its name ends in .gz."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: expected a file that can be read. Received: {error}.") from error


def decode(path: Path, content: bytes) -> str:
    """Decode UTF-8 text; the error names the line of the first invalid byte."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: expected text in UTF-8. Received: byte 0x{content[error.start]:02x} in line "
            f"{line}. Save the file as UTF-8."
        ) from error


def _find_problem(file: Path) -> str | None:
    if file.is_dir():
        return "a directory"
    if not file.exists():
        siblings = os.listdir(file.parent) if file.parent.is_dir() else []
        near = difflib.get_close_matches(file.name, siblings, n=1)
        return "no such file" + (f"; did you mean {near[0]!r}?" if near else "")
    if not file.is_file():
        return "neither a file nor a directory"
    if not os.access(file, os.R_OK):
        return "a file without permission to read it"
    return None if file.stat().st_size else "an empty file"
