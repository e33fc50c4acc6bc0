"""Tables and matrices in memory-mapped files, of which the system reads the pages that are used."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.cache_folder import VARIABLE, find_cache
from pipeline.errors import UserError
from pipeline.matrix_blocks import row_blocks
from pipeline.preprocessing import TableSchema
from pipeline.preprocessing.table_schema import empty_matrix

FOLDER = "tables"  # of the cache
UNFINISHED = "part-"  # beginning of the names of folders that are being written
MIN_FREE_BYTES = 2**28  # that are left on the disk for others
BLOCK_BYTES = 2**26  # of a table that are written at once


def map_table(path: Path, batches: Iterable[pa.RecordBatch]) -> pa.Table | None:
    """Write a table in Arrow's stream format, and return it memory-mapped; None without rows.

    The file is deleted at once: its pages remain until the table is.

    Raises:
        UserError: If the disk is full.
    """
    writer = None
    try:
        for batch in _regroup(batches):
            with _writing(path, batch.nbytes):
                writer = writer or pa.ipc.new_stream(str(path), batch.schema)
                writer.write_batch(batch)
        if writer is None:
            return None
        with _writing(path, 0):
            writer.close()
        with pa.memory_map(str(path)) as file:
            return pa.ipc.open_stream(file).read_all()
    finally:
        path.unlink(missing_ok=True)


def _regroup(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield larger batches; thousands of columns in small ones would be millions of arrays."""
    group: list[pa.RecordBatch] = []
    n_bytes = 0
    for batch in batches:
        group.append(batch)
        n_bytes += batch.nbytes
        if n_bytes >= BLOCK_BYTES:
            yield from pa.Table.from_batches(group).combine_chunks().to_batches()
            group, n_bytes = [], 0
    if group:
        yield from pa.Table.from_batches(group).combine_chunks().to_batches()


def encode_table(
    schema: TableSchema, table: pa.Table, path: Path | None
) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
    """Return the matrix of a table, and the exact values of some columns by name.

    Args:
        schema: The schema of the table.
        table: The table.
        path: File for the matrix, which is then memory-mapped; None for the memory.
    """
    names = schema.exact_names
    if path is None:
        return schema.encode_with_exact(table, names)
    kept = tuple(column for column in schema.columns if column.name in names)
    of_kept = TableSchema(kept, schema.na_values, schema.decimal)
    X_kept, exact = of_kept.encode_with_exact(table, names)
    positions = [schema.names.index(name) for name in names]

    def encode() -> Iterator[NDArray[np.float32]]:
        for rows in row_blocks(table.num_rows, len(schema.columns)):
            part = table.slice(rows.start, rows.stop - rows.start)
            block = schema.encode_with_exact(part, ())[0]
            block[:, positions] = X_kept[rows]  # texts have the codes that they have in all rows
            yield block

    return map_matrix(path, (table.num_rows, len(schema.columns)), encode()), exact


def make_matrix(
    source: NDArray[np.float32], shape: tuple[int, int], blocks: Iterable[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return a matrix of blocks of rows, memory-mapped if the matrix that they come from is.

    Raises:
        UserError: If the disk is full.
    """
    if isinstance(source, np.memmap):
        root = find_cache(FOLDER)
        parent = root if root is not None and os.access(root, os.W_OK) else None
        with tempfile.TemporaryDirectory(
            prefix=UNFINISHED, dir=parent, ignore_cleanup_errors=True
        ) as folder:  # NFS keeps files that are mapped
            return map_matrix(Path(folder) / "X.npy", shape, blocks)
    X = empty_matrix(*shape)
    start = 0
    for block in blocks:
        X[start : start + len(block)] = block
        start += len(block)
    return X


def map_matrix(
    path: Path, shape: tuple[int, int], blocks: Iterable[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Write a matrix as NumPy's file, and return it memory-mapped."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            with _writing(path, block.nbytes):
                file.write(np.ascontiguousarray(block).data)
        with _writing(path, 0):
            file.flush()
    return open_matrix(path)


def open_matrix(path: Path) -> NDArray[np.float32]:
    """Return the memory-mapped matrix of a file, which no writing to the matrix would change."""
    X: NDArray[np.float32] = np.load(path, mmap_mode="c")
    return X


def disk_error(folder: Path, error: OSError) -> UserError:
    """Return the error for a folder that cannot hold a table."""
    root = find_cache(FOLDER)
    is_cache = root is not None and folder.resolve() == root.resolve()
    expected, way = "a folder", "Choose another one"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        files = "the folder or other files" if is_cache else "files"
        expected, way = "room", f"Delete {files}, or choose a folder of another disk"
    return UserError(
        f"{folder}: expected {expected} for a table that is memory-mapped. Received: "
        f"{error.strerror or error}. {way}: {VARIABLE if is_cache else 'TMPDIR'}=..."
    )


@contextmanager
def _writing(path: Path, n_bytes: int) -> Iterator[None]:
    """Raise UserError if a block of bytes cannot be written, or would fill the disk."""
    try:
        if shutil.disk_usage(path.parent).free < n_bytes + MIN_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield
    except OSError as error:
        raise disk_error(path.parent.parent, error) from error
