"""Read files, with errors that name the path, and check that tables fit into memory."""

import difflib
import gzip
import io
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline import runtime
from pipeline.errors import UserError
from pipeline.runtime import expand_user

_FILE_CACHES = ("inactive_file", "active_file")
_BLOCK_SIZE = 2**24  # bytes
LEAVE_OUT = "Leave out rows or columns, or use a machine with more memory."
CONVERT = (
    "Leave out rows or columns, or write a Parquet file, which is memory-mapped if it is large."
)
MAP = "Leave out rows or columns, or give dataset.memory_map=true."
_COPIES = 3  # of a file's content: its bytes, its text and the lines of it


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
    file = expand_user(path)
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
    """Return a file's bytes, decompressed if its name ends in .gz.

    Raises:
        UserError: If it cannot be read, or is too large for the memory.
    """
    content, limit = io.BytesIO(), available_memory() // _COPIES
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while block := file.read(_BLOCK_SIZE):
                content.write(block)
                if content.tell() > limit:
                    raise size_error(str(path), f"more than {limit / 2**30:,.1f} GiB of text")
        return content.getvalue()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: expected a file that can be read. Received: {error}.") from error


def check_fits_memory(
    source: str, shape: Sequence[int], bytes_per_cell: int, remedy: str = CONVERT
) -> None:
    """Raise UserError if a table is too large for the memory; call it before allocating one.

    Args:
        source: Origin of the table, for the message.
        shape: Shape of the table.
        bytes_per_cell: Memory that a value takes, in all copies of the table that exist at once.
        remedy: What to do about it, as a sentence.
    """
    needed = math.prod(shape) * bytes_per_cell
    if needed > available_memory():
        size = " x ".join(f"{n:,}" for n in shape)
        raise size_error(source, f"{size} values, which take {needed / 2**30:,.1f} GiB", remedy)


def size_error(source: str, received: str, remedy: str = CONVERT) -> UserError:
    """Return the error for a table that is too large for the memory."""
    return UserError(
        f"{source}: expected a table that fits into memory, of which "
        f"{available_memory() / 2**30:,.1f} GiB are available. Received: {received}. {remedy}"
    )


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
        return f"a directory. To sweep over its files: --multirun 'dataset.path={file}/*'"
    if not file.exists():
        siblings = os.listdir(file.parent) if file.parent.is_dir() else []
        near = difflib.get_close_matches(file.name, siblings, n=1)
        return "no such file" + (f"; did you mean {near[0]!r}?" if near else "")
    if not file.is_file():
        return "neither a file nor a directory"
    if not os.access(file, os.R_OK):
        return "a file without permission to read it"
    return None if file.stat().st_size else "an empty file"


def available_memory() -> int:
    """Return the bytes that this process can use without swapping or exceeding a limit.

    Allocating them is no test: systems that overcommit memory grant any amount, and kill the
    process when it uses it.
    """
    try:
        lines = (runtime.PROC / "meminfo").read_text().splitlines()
        free = 1024 * next(int(it.split()[1]) for it in lines if it.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # macOS
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(0, min([free, *_cgroup_memory()]))


def _cgroup_memory() -> Iterator[int]:
    """Yield the bytes that are left of each memory limit of this process's control groups."""
    for group, version in runtime.control_groups("memory"):
        names = ("memory.max", "memory.current")
        if version == 1:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        try:
            limit, used = (int((group / name).read_text()) for name in names)
            usage = dict(it.split() for it in (group / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no limit, or a group outside the container
            continue
        # Cached files count as used, but give way to the process.
        cached = [usage.get(f"total_{it}", usage.get(it, 0)) for it in _FILE_CACHES]
        yield limit - used + sum(map(int, cached))
