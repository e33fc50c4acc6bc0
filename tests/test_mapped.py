"""Memory-mapped tables are equal to those in memory, and take none of it."""

import errno
import gzip
import os
import tempfile
import threading
import time
import tracemalloc
import zipfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from pipeline import matrix_blocks, runtime
from pipeline.dataset import loading, mapped_files, summarise, table_cache
from pipeline.dataset.builder import build_dataset
from pipeline.errors import UserError
from pipeline.training import sparse_rows, stack
from tests.test_evaluator import evaluate

LABELS = "dataset.labels=[x,y]"
N_ROWS = 200
FORMATS = [
    "csv", "csv.gz", "tsv", "semicolons.csv", "parquet", "lz4.feather", "plain.feather", "xlsx",
    "zip",
]  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """Keep tables in a folder of the test, and divide them into small blocks."""
    monkeypatch.setenv("MANYFOLD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(matrix_blocks, "MAX_CELLS", 64)
    monkeypatch.setattr(mapped_files, "BLOCK_BYTES", 2000)
    return tmp_path / "cache" / "tables"


@pytest.fixture
def load(make_config):
    def load(path: Path, *overrides: str, is_mapped: bool | None = None):
        setting = [] if is_mapped is None else [f"dataset.memory_map={str(is_mapped).lower()}"]
        config = make_config("dataset=table", f"dataset.path='{path}'", *overrides, *setting)
        return loading.load(config.dataset)

    return load


def frame(n_rows: int = N_ROWS, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)

    def with_gaps(values):
        return pd.Series(values, dtype=object).where(generator.random(n_rows) < 0.9, None)

    days = np.datetime64("2024-01-01") + generator.integers(0, 900, n_rows)
    table = {
        "whole": generator.integers(0, 5, n_rows),
        "late": [*range(n_rows - 1), 0.5],  # the first block has whole numbers
        "far": 1e6 + generator.normal(size=n_rows),
        "gaps": pd.Series(generator.normal(size=n_rows)).where(generator.random(n_rows) < 0.8),
        "empty at first": [None] * (n_rows // 2) + [1.5] * (n_rows - n_rows // 2),
        "colour": with_gaps(generator.choice(["red", "green", "blue"], n_rows)),
        "price": [f"${number:,}" for number in generator.integers(0, 9999, n_rows)],
        "day": [str(day) for day in days],
        "text": with_gaps([f"words number {i % 7} and {i % 3}" for i in range(n_rows)]),
        "flag": generator.random(n_rows) < 0.5,
        "group": [f"g{i % 9}" for i in range(n_rows)],
        "row": [f"r{i}" for i in range(n_rows)],
        "when": [f"2025-01-{1 + i % 28:02d}" for i in range(n_rows)],
        "weight": generator.random(n_rows) + 0.5,
        "x": with_gaps(generator.integers(0, 2, n_rows)),
        "y": generator.integers(0, 2, n_rows),
    }
    table = pd.DataFrame(table)
    return pd.concat([table.iloc[: n_rows - 5], table.iloc[:5].assign(row=list("abcde"))])


ROLES = (
    *("dataset.group_column=group", "dataset.id_column=row", "dataset.time_column=when"),
    *("dataset.weight_column=weight", "dataset.missing_labels=mask"),
    "dataset.text_columns=[text]",
)


def write(table: pd.DataFrame, path: Path) -> Path:
    name, texts = path.name, table.to_csv(index=False)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(texts.encode()))
    elif name.endswith("semicolons.csv"):
        table.to_csv(path, sep=";", decimal=",", index=False)
    elif name.endswith(".tsv"):
        table.to_csv(path, sep="\t", index=False)
    elif name.endswith(".csv"):
        path.write_text(texts)
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("t.csv", texts)
    elif name.endswith(".parquet"):
        typed = table.assign(colour=table["colour"].astype("category"))
        typed.to_parquet(path, index=False, row_group_size=64)
    elif name.endswith(".feather"):
        table = pa.Table.from_pandas(table, preserve_index=False)
        compression = "uncompressed" if "plain" in name else "lz4"
        pa.feather.write_feather(table, path, compression=compression, chunksize=64)
    else:
        table.to_excel(path, index=False)
    return path


def assert_equal(mapped, dataset):
    """Check that two data sets are equal, all but the note about the memory-mapped file."""
    assert isinstance(mapped.X, np.memmap)
    assert not isinstance(dataset.X, np.memmap)
    np.testing.assert_array_equal(mapped.X, dataset.X)
    for name in ("y", "groups", "fold", "ids", "times", "label_mask", "sample_weight"):
        one, other = getattr(mapped, name), getattr(dataset, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other, err_msg=name)
    for name in ("schema", "label_names", "digest", "warnings", "name", "source"):
        assert getattr(mapped, name) == getattr(dataset, name), name
    assert [it for it in mapped.notes if "memory-mapped" not in it] == [*dataset.notes]
    assert mapped.exact.keys() == dataset.exact.keys()
    for name, values in dataset.exact.items():
        np.testing.assert_array_equal(mapped.exact[name], values)
    assert summarise(mapped).as_dict() == summarise(dataset).as_dict()


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_is_read_as_in_memory(ending, load, tmp_path, cache):
    path = write(frame(), tmp_path / f"t.{ending}")
    dataset = load(path, LABELS, *ROLES, is_mapped=False)
    assert dataset.n_features == 10
    assert dataset.label_mask is not None
    for _ in range(2):  # the second time from the cache
        mapped = load(path, LABELS, *ROLES, is_mapped=True)
        assert_equal(mapped, dataset)
        (folder,) = cache.iterdir()
        assert sorted(it.name for it in folder.iterdir()) == ["X.npy", "dataset.npz"]
        assert f"are memory-mapped from {folder / 'X.npy'}" in mapped.notes[-1]


def test_the_second_time_no_value_is_read_from_the_source(load, tmp_path, monkeypatch):
    path = write(frame(), tmp_path / "t.parquet")
    first = load(path, LABELS, *ROLES, is_mapped=True)
    monkeypatch.setattr("pipeline.dataset.table.build_dataset", None)
    assert load(path, LABELS, *ROLES, is_mapped=True).digest == first.digest


@pytest.mark.parametrize("override", [
    "dataset.drop=[colour]", "dataset.numeric=[whole]", "dataset.missing_labels=mask",
    "dataset.na_values=[red]", "dataset.name=other",
])  # fmt: skip
def test_other_settings_are_other_tables(override, load, tmp_path, cache):
    path = write(frame().fillna({"x": 0}), tmp_path / "t.csv")
    for overrides in ([], [override]):
        mapped = load(path, LABELS, *overrides, is_mapped=True)
        assert_equal(mapped, load(path, LABELS, *overrides, is_mapped=False))
    assert len([*cache.iterdir()]) == 2


def test_a_changed_file_is_another_table(load, tmp_path):
    path = write(frame().fillna({"x": 0}), tmp_path / "t.csv")
    load(path, LABELS, is_mapped=True)
    state = path.stat()
    write(frame().fillna({"x": 0}).assign(y=1), path)  # of the same size
    assert path.stat().st_size == state.st_size
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert load(path, LABELS, is_mapped=True).y[:, 1].all()


def test_a_file_of_the_same_size_and_time_is_another_table(load, tmp_path, cache):
    path = write(frame().fillna({"x": 0}), tmp_path / "t.csv")
    load(path, LABELS, is_mapped=True)
    state = path.stat()
    write(frame().fillna({"x": 0}).assign(y=1), path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_mtime_ns == state.st_mtime_ns
    assert load(path, LABELS, is_mapped=True).y[:, 1].all()


@pytest.mark.parametrize("library", ["openpyxl", "pyarrow"])
def test_libraries_of_other_versions_make_other_tables(library, load, tmp_path, cache, monkeypatch):
    path = write(frame(), tmp_path / "t.xlsx")
    versions = {library: "1"}
    monkeypatch.setattr(
        table_cache, "version", lambda name: versions.get(name) or metadata.version(name)
    )
    for versions[library] in ("1", "2", "2"):
        table_cache._code_version.cache_clear()
        load(path, LABELS, *ROLES, is_mapped=True)
    table_cache._code_version.cache_clear()
    assert len([*cache.iterdir()]) == 2


def test_types_are_inferred_from_all_rows_a_few_columns_at_a_time(load, tmp_path, monkeypatch):
    """The first megabyte of a file decides on no type that later rows contradict."""
    n = 150_000
    names = ["numbers", "texts", "dates", "blank", "plain"]
    rows = ["1,2,2024-01-01,,7"] * n
    rows[-3:] = ["1.5,a,2024-01-02,3,7", "2,b,x,,7", "2,a,2024-01-02,,8"]
    labels = [f"{row},{i % 2},{i % 3 // 2}" for i, row in enumerate(rows)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join([",".join([*names, "x", "y"]), *labels]) + "\n")
    monkeypatch.setattr(matrix_blocks, "MAX_CELLS", 2**16)
    monkeypatch.setattr(mapped_files, "BLOCK_BYTES", 2**20)
    overrides = LABELS, "dataset.categorical=[texts,dates]"
    dataset = load(path, *overrides, is_mapped=False)
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "meminfo").write_text(f"MemAvailable: {2**23 // 1024} kB\n")
    monkeypatch.setattr(runtime, "PROC", proc)
    assert_equal(load(path, *overrides), dataset)  # by itself, as it does not fit


@pytest.mark.parametrize("overrides", [["dataset.label_list_column=tags"], ["dataset.labels=[y]"]])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_listed_labels_duplicates_and_folds(ending, overrides, load, tmp_path):
    table = frame().drop(columns=["x"])[["whole", "colour", "flag", "y"]]
    table["tags"] = [f"a;{'b' * (i % 2)}" for i in range(len(table))]
    if ending == "parquet":
        table["tags"] = [["a", "b"][: i % 3] for i in range(len(table))]
    table["fold"] = [i % 3 for i in range(len(table))]
    overrides = [*overrides, "dataset.fold_column=fold", "dataset.drop_duplicates=true"]
    if overrides[0] == "dataset.labels=[y]":
        overrides.append("dataset.drop=[tags]")
    path = write(table, tmp_path / f"t.{ending}")
    dataset = load(path, *overrides, is_mapped=False)
    assert dataset.n_samples < len(table)
    assert_equal(load(path, *overrides, is_mapped=True), dataset)


@pytest.mark.parametrize("ending", ["csv", "parquet", "lz4.feather"])
def test_pairs_of_training_and_test_rows(ending, load, tmp_path):
    train = write(frame(), tmp_path / f"train.{ending}")
    columns = [*reversed(frame().columns)]
    other = frame(70, seed=1).replace({"red": "yellow"}).assign(far=lambda it: it["far"] + 99)
    other["row"] = [f"s{i}" for i in range(len(other))]
    test = write(other[columns], tmp_path / f"test.{ending}")
    overrides = LABELS, f"dataset.test_path='{test}'", "dataset.missing_labels=mask"
    overrides = *overrides, "dataset.text_columns=[text]", "dataset.id_column=row"
    dataset = load(train, *overrides, is_mapped=False)
    assert dataset.schema.columns[5].categories == ("blue", "green", "red", "yellow")
    assert_equal(load(train, *overrides, is_mapped=True), dataset)


BAD = {
    "t.csv": [
        ("a,x\n1,0\n2,1,3\n", "expected 2 columns, as in the first line. Received: 3 in line 3"),
        ("a,x\n1,0\n2,\n", "neither yes nor no|missing|Received"),
        ("a,x\n1,0\n1e99,1\n", "in column 'a', row 1"),
        ("a,x\n,0\n,1\n", "expected a value in each feature"),
        ("a,x\n", "at least one row"),
    ],
    "t.parquet": [("PAR1 and no more", "expected a complete Parquet file")],
}


@pytest.mark.parametrize(("file", "content", "message"), [
    (file, *case) for file, cases in BAD.items() for case in cases
])  # fmt: skip
def test_errors_are_those_of_tables_in_memory(file, content, message, load, tmp_path, cache):
    path = tmp_path / file
    path.write_text(content)
    errors = []
    for is_mapped in (True, False):
        with pytest.raises(UserError, match=message) as caught:
            load(path, "dataset.labels=[x]", is_mapped=is_mapped)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    assert not cache.exists() or not [*cache.iterdir()]


def test_json_lines_are_not_mapped(load, tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1, "x": 0}\n{"a": 2, "x": 1}\n')
    with pytest.raises(UserError, match=r"read_json\('t.jsonl', lines=True\).to_parquet"):
        load(path, "dataset.labels=[x]", is_mapped=True)
    assert load(path, "dataset.labels=[x]").n_samples == 2


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "bit":
        content[-3] ^= 1
    elif how == "number":
        content[-4:] = np.float32(np.inf).tobytes()
    path.write_bytes({"empty": b"", "half": content[: len(content) // 2]}.get(how, bytes(content)))


@pytest.mark.parametrize("how", ["bit", "number", "empty", "half"])
@pytest.mark.parametrize("name", ["X.npy", "dataset.npz"])
def test_a_damaged_table_is_made_again(name, how, load, tmp_path, cache):
    path = write(frame(), tmp_path / "t.parquet")
    expected = load(path, LABELS, *ROLES, is_mapped=False)
    load(path, LABELS, *ROLES, is_mapped=True)
    (folder,) = cache.iterdir()
    damage(folder / name, how)
    assert_equal(load(path, LABELS, *ROLES, is_mapped=True), expected)
    assert_equal(load(path, LABELS, *ROLES, is_mapped=True), expected)
    assert [*cache.iterdir()] == [folder]


@pytest.mark.parametrize(
    ("error", "raised"),
    [(MemoryError(), MemoryError), (OSError(errno.EIO, os.strerror(errno.EIO)), UserError)],
)
def test_a_table_that_cannot_be_read_now_is_kept(error, raised, load, tmp_path, cache, monkeypatch):
    path = write(frame(), tmp_path / "t.parquet")
    load(path, LABELS, *ROLES, is_mapped=True)
    (folder,) = cache.iterdir()

    def fail(path):
        raise error

    monkeypatch.setattr(table_cache, "open_matrix", fail)
    with pytest.raises(raised):
        load(path, LABELS, *ROLES, is_mapped=True)
    assert sorted(it.name for it in folder.iterdir()) == ["X.npy", "dataset.npz"]


def test_a_prepared_cache_can_be_on_a_disk_that_can_only_be_read(
    load, tmp_path, cache, monkeypatch
):
    path = write(frame(), tmp_path / "t.parquet")
    load(path, LABELS, *ROLES, is_mapped=True)
    (folder,) = cache.iterdir()
    error = OSError(errno.EROFS, os.strerror(errno.EROFS))
    mkdtemp, access = tempfile.mkdtemp, os.access

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("os.utime", refuse)
    monkeypatch.setattr("os.access", lambda path, mode: path != cache and access(path, mode))
    monkeypatch.setattr(
        "tempfile.mkdtemp",
        lambda suffix=None, prefix=None, dir=None: (
            refuse() if dir == cache else mkdtemp(suffix, prefix, dir)
        ),
    )
    for overrides in ([], ["dataset.drop_duplicates=true"]):
        mapped = load(path, LABELS, *ROLES, *overrides, is_mapped=True)
        assert_equal(mapped, load(path, LABELS, *ROLES, *overrides, is_mapped=False))
        assert f"from {folder / 'X.npy'}" in mapped.notes[-1]


def test_a_table_survives_that_its_files_are_removed(load, tmp_path, cache):
    path = write(frame(), tmp_path / "t.parquet")
    mapped = load(path, LABELS, *ROLES, is_mapped=True)
    (folder,) = cache.iterdir()
    for file in folder.iterdir():
        file.unlink()
    assert_equal(mapped, load(path, LABELS, *ROLES, is_mapped=False))


def test_of_several_jobs_at_once_one_makes_the_table(load, tmp_path, cache, monkeypatch):
    path = write(frame(), tmp_path / "t.parquet")
    expected = load(path, LABELS, *ROLES, is_mapped=False)
    mapped, built = [], []

    def count(*args, **options):
        built.append(1)
        return build_dataset(*args, **options)

    monkeypatch.setattr("pipeline.dataset.table.build_dataset", count)

    def run():
        mapped.append(load(path, LABELS, *ROLES, is_mapped=True))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mapped) == 6
    assert len(built) == 1
    for dataset in mapped:
        assert_equal(dataset, expected)
    assert len([*cache.iterdir()]) == 1


def test_without_locks_each_job_makes_the_table(load, tmp_path, cache, monkeypatch):
    path = write(frame(), tmp_path / "t.parquet")
    expected = load(path, LABELS, *ROLES, is_mapped=False)
    barrier = threading.Barrier(2, timeout=60)

    def build_both(*args, **options):
        barrier.wait()
        return build_dataset(*args, **options)

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("pipeline.dataset.table.build_dataset", build_both)
    monkeypatch.setattr(table_cache.fcntl, "flock", refuse)
    with ThreadPoolExecutor(2) as pool:
        for mapped in pool.map(lambda _: load(path, LABELS, *ROLES, is_mapped=True), range(2)):
            assert_equal(mapped, expected)
    assert len([*cache.iterdir()]) == 1


def test_without_a_cache_the_files_are_deleted(load, tmp_path, monkeypatch):
    monkeypatch.setenv("MANYFOLD_CACHE_DIR", "off")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = write(frame(), tmp_path / "t.parquet")
    mapped = load(path, LABELS, *ROLES, "dataset.drop_duplicates=true", is_mapped=True)
    expected = load(path, LABELS, *ROLES, "dataset.drop_duplicates=true", is_mapped=False)
    assert_equal(mapped, expected)
    assert not [*(tmp_path / "temporary").iterdir()]


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_disk_that_keeps_open_files_is_no_error(is_cached, load, tmp_path, cache, monkeypatch):
    path = write(frame(), tmp_path / "t.parquet")
    overrides = LABELS, *ROLES, "dataset.drop_duplicates=true"
    expected = load(path, *overrides, is_mapped=False)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    rmdir = os.rmdir

    def refuse(path, **options):
        if Path(path).name.startswith(("part-", "manyfold-")):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        rmdir(path, **options)

    monkeypatch.setattr("os.rmdir", refuse)
    if not is_cached:
        monkeypatch.setenv("MANYFOLD_CACHE_DIR", "off")
    assert_equal(load(path, *overrides, is_mapped=True), expected)
    parent = cache if is_cached else temporary
    assert [*parent.glob("part-*")]


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_full_disk_is_an_error_that_says_what_to_do(
    is_cached, load, tmp_path, cache, monkeypatch
):
    path = write(frame(), tmp_path / "t.parquet")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder, ways = cache, "Delete the folder or other files, .*: MANYFOLD_CACHE_DIR=..."
    if not is_cached:
        monkeypatch.setenv("MANYFOLD_CACHE_DIR", "off")
        folder, ways = tmp_path, "Delete files, or choose a folder of another disk: TMPDIR=..."
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(mapped_files.shutil, "disk_usage", lambda path: usage(10**6))
    reason = os.strerror(errno.ENOSPC)
    with pytest.raises(UserError, match=f"{folder}: expected room .*: {reason}. {ways}"):
        load(path, LABELS, *ROLES, is_mapped=True)
    assert not cache.exists() or not [*cache.iterdir()]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EDQUOT, "room for .* Delete the folder or"),
        (errno.EACCES, "a folder for .* Choose another one: MANYFOLD_CACHE_DIR="),
    ],
)
@pytest.mark.parametrize("writer", ["pyarrow.ipc.new_stream", "numpy.savez"])
def test_other_errors_of_the_disk_keep_their_reason(
    writer, number, expected, load, tmp_path, cache, monkeypatch
):
    path = write(frame(), tmp_path / "t.parquet")

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(writer, fail)
    with pytest.raises(UserError, match=f"{cache}: expected {expected}") as caught:
        load(path, LABELS, *ROLES, is_mapped=True)
    assert f"Received: {os.strerror(number)}. " in str(caught.value)


def test_a_folder_that_others_can_write_to_is_refused(load, tmp_path, cache):
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    path = write(frame(), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"a folder of yours alone \(chmod 700\)"):
        load(path, LABELS, *ROLES, is_mapped=True)


def test_tables_that_are_old_or_too_many_are_removed(load, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(table_cache, "MAX_TABLES", 2)
    paths, folders = (
        [write(frame(seed=seed), tmp_path / f"{seed}.parquet") for seed in range(4)],
        [],
    )
    for number, path in enumerate(paths):
        before = {*cache.iterdir()} if cache.exists() else set()
        load(path, LABELS, *ROLES, is_mapped=True)
        folders += {*cache.iterdir()} - before
        os.utime(folders[-1], (time.time() - 1000 + number,) * 2)
    assert {*cache.iterdir()} == {*folders[1:]}  # the new one beside two older ones
    unfinished, lock = cache / "part-of-a-killed-process", cache / "part-of-another.lock"
    unfinished.mkdir()
    lock.touch()
    for folder in (unfinished, lock, folders[2]):
        os.utime(folder, (time.time() - 40 * 86_400,) * 2)
    load(paths[3], LABELS, *ROLES, is_mapped=True)
    assert {*cache.iterdir()} == {folders[1], folders[3]}


def test_tables_that_another_job_removes_meanwhile_are_left_to_it(
    load, tmp_path, cache, monkeypatch
):
    path = write(frame(), tmp_path / "t.parquet")
    load(path, LABELS, *ROLES, is_mapped=True)
    (folder,) = cache.iterdir()
    listed = folder, cache / "removed", cache / "part-renamed"
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(listed))
    load(path, LABELS, *ROLES, is_mapped=True)
    assert folder.exists()


def big_parquet(path: Path, n_rows: int, n_columns: int) -> Path:
    names = [*(f"f{j}" for j in range(n_columns)), "x"]
    schema = pa.schema([(name, pa.float32()) for name in names[:-1]] + [("x", pa.int8())])
    generator = np.random.default_rng(0)
    with pa.parquet.ParquetWriter(path, schema) as file:
        for _ in range(0, n_rows, 1000):
            columns = [*generator.normal(size=(n_columns, 1000)).astype(np.float32)]
            columns.append(generator.integers(0, 2, 1000).astype(np.int8))
            file.write_batch(pa.record_batch(columns, schema=schema))
    return path


def test_a_table_that_does_not_fit_is_mapped_and_hardly_takes_memory(
    load, tmp_path, monkeypatch, make_config
):
    """Loading, the summary and the plan of the fits take a fraction of the matrix."""
    from pipeline.cv import make_splits
    from pipeline.evaluation.inputs import plan_fits

    monkeypatch.setattr(matrix_blocks, "MAX_CELLS", 2**18)
    monkeypatch.setattr("pipeline.preprocessing.column_statistics.MAX_CELLS", 2**18)
    monkeypatch.setattr("pipeline.preprocessing.column_statistics.MAX_FLOAT64_CELLS", 2**16)
    monkeypatch.setattr(mapped_files, "BLOCK_BYTES", 2**20)
    path = big_parquet(tmp_path / "t.parquet", 40_000, 400)  # 64 MB
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "meminfo").write_text(f"MemAvailable: {2**26 // 1024} kB\n")
    monkeypatch.setattr(runtime, "PROC", proc)
    config = make_config("dataset=table", "preprocessing=standard", f"dataset.path='{path}'")
    with pytest.raises(UserError, match=r"Leave out rows .* or give dataset.memory_map=true"):
        load(path, "dataset.labels=[x]", is_mapped=False)
    load(path, "dataset.labels=[x]")  # what only the first use allocates
    tracemalloc.start()
    dataset = load(path, "dataset.labels=[x]")
    summarise(dataset)
    dataset.check_complete()
    plan_fits(config, dataset, make_splits(config.cv, dataset))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(dataset.X, np.memmap)
    assert peak < dataset.X.nbytes / 4
    assert pa.total_allocated_bytes() < dataset.X.nbytes / 4


@pytest.mark.parametrize(
    "overrides",
    [["report.importance=true", "training.early_stopping.patience=1"], ["model=logistic"]],
    ids=["mlp", "logistic"],
)
def test_scores_are_equal_bit_by_bit(overrides, make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(sparse_rows, "MIN_SPARSE_CELLS", 0)  # so that XLA reads the file itself
    tensors = []
    monkeypatch.setattr(
        stack,
        "to_device",
        lambda X: tensors.append((sparse_rows.to_device(X), X)) or tensors[-1][0],
    )
    path = write(frame(), tmp_path / "t.parquet")
    results = []
    for is_mapped in (True, False):
        config = make_config(
            *("dataset=table", "preprocessing=standard", f"dataset.path='{path}'", LABELS),
            *("dataset.text_columns=[text]", "dataset.missing_labels=mask", "dataset.drop=[row]"),
            *("cv.n_splits=3", "cv.n_repeats=1", "training.epochs=3"),
            *(*overrides, f"dataset.memory_map={str(is_mapped).lower()}"),
        )
        results.append(evaluate(config))
    mapped, expected = results
    for one, other in zip(mapped.folds, expected.folds, strict=True):
        np.testing.assert_array_equal(one.y_score, other.y_score)
        assert one.scores == other.scores
        np.testing.assert_array_equal(one.importance, other.importance)
    np.testing.assert_array_equal(
        *(it.final.predict_proba(it.final.schema.encode(frame())) for it in results)
    )
    for tensor, X in tensors:
        assert np.shares_memory(np.asarray(memoryview(tensor)), X)
    assert len(tensors) == (0 if "model=logistic" in overrides else 2)
