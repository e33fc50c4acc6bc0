"""Extract the one table of a zip archive."""

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from pipeline.dataset.files import available_memory, read_bytes, size_error
from pipeline.errors import UserError

_MAGIC = b"PK\x03\x04"
_BLOCK_SIZE = 2**20
_READ_ERRORS = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, ValueError)


def is_zip(path: Path) -> bool:
    """Return whether a file starts as a zip archive does."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def is_workbook(path: Path) -> bool:
    """Return whether a zip archive is a workbook of Excel."""
    try:
        with zipfile.ZipFile(path) as opened:
            return "xl/workbook.xml" in opened.namelist()
    except _READ_ERRORS:
        return False


def read_unpacked(path: Path, endings: Collection[str]) -> bytes:
    """Return a file's bytes, or those of the one table in a zip archive.

    Raises:
        UserError: If it cannot be read.
    """
    if not is_zip(path):
        return read_bytes(path)
    with TemporaryDirectory() as folder:
        return read_bytes(extract_table(path, Path(folder), endings))


def extract_table(path: Path, folder: Path, endings: Collection[str]) -> Path:
    """Extract the file of a zip archive that is a table into a folder, and return its path.

    Args:
        path: Path of the archive.
        folder: An existing folder.
        endings: Endings of the names of tables; if no file has one, the only file is the table.

    Raises:
        UserError: If the archive is damaged or encrypted, has no table or several, or if the table
            would not fit into memory.
    """
    try:
        with zipfile.ZipFile(path) as opened:
            member = _find_table(path, opened, endings)
            # The name of a member may lead out of the folder; its last part cannot.
            file = folder / PurePosixPath(member.filename.replace("\\", "/")).name
            _extract(path, opened, member, file)
    except UserError:
        raise
    except _READ_ERRORS as error:
        raise UserError(
            f"{path}: expected a complete zip archive without a password. Received: {error}"
        ) from error
    return file


def _find_table(path: Path, opened: zipfile.ZipFile, endings: Collection[str]) -> zipfile.ZipInfo:
    entries = [
        member
        for member in opened.infolist()
        if not member.is_dir()
        and not member.filename.startswith("__MACOSX/")
        and not PurePosixPath(member.filename).name.startswith(".")
    ]
    tables = [
        member
        for member in entries
        if PurePosixPath(member.filename.lower().removesuffix(".gz")).suffix in endings
    ]
    tables = tables or (entries if len(entries) == 1 else [])
    if len(tables) != 1:
        names = ", ".join(member.filename for member in (tables or entries)[:20])
        raise UserError(
            f"{path}: expected a zip archive with one table. Received: {len(tables)} tables among "
            f"{len(entries)} files: {names or '(none)'}. Extract it, and give one of them as "
            "dataset.path"
        )
    return tables[0]


def _extract(path: Path, opened: zipfile.ZipFile, member: zipfile.ZipInfo, file: Path) -> None:
    """Write a member as a file; its real size counts, whatever the archive says."""
    limit, n_bytes = available_memory(), 0
    with opened.open(member) as source, file.open("wb") as target:
        while content := source.read(_BLOCK_SIZE):
            n_bytes += len(content)
            if n_bytes > limit:
                raise size_error(str(path), f"more than {limit / 2**30:,.1f} GiB when unpacked")
            target.write(content)
