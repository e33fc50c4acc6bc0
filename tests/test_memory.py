"""Data that would not fit into the memory are refused before it is allocated."""

import gzip
import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from scipy import sparse

from pipeline import runtime
from pipeline.dataset import files as reader
from pipeline.dataset import loading
from pipeline.dataset.builder import dataset_from_features_and_labels
from pipeline.dataset.openml import _frame
from pipeline.errors import UserError

MIB = 2**20
MESSAGE = r"expected a table that fits into memory, of which [\d,.]+ GiB are available. Received: "


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """Make so many bytes of memory available to the process."""
    proc = tmp_path / "proc"
    proc.mkdir()
    monkeypatch.setattr(runtime, "PROC", proc)

    def limit(n: int) -> None:
        (proc / "meminfo").write_text(f"MemAvailable: {n // 1024} kB\n")

    limit(32 * MIB)
    return limit


@pytest.fixture
def load(tmp_path, make_config):
    def load(file: str, content: bytes, *overrides: str):
        path = tmp_path / file
        path.write_bytes(content)
        kinds = {".arff": "arff", ".npz": "npz", ".svm": "svmlight"}
        kind = kinds.get(Path(file.removesuffix(".gz")).suffix, "table")
        return loading.load(
            make_config(f"dataset={kind}", f"dataset.path='{path}'", *overrides).dataset
        )

    return load


def arff(n_rows: int, n_attributes: int, row: str) -> bytes:
    attributes = "".join(f"@attribute a{j} {{0,1}}\n" for j in range(n_attributes))
    return f"@relation r\n{attributes}@data\n".encode() + f"{row}\n".encode() * n_rows


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def npz_of_headers(**shapes: tuple[int, ...]) -> bytes:
    """Return arrays of which only the headers are there."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, shape in shapes.items():
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                header, {"descr": "|i1", "fortran_order": False, "shape": shape}
            )
            archive.writestr(f"{key}.npy", header.getvalue())
    return buffer.getvalue()


def parquet(n_rows: int, n_columns: int) -> bytes:
    buffer = io.BytesIO()
    column = pa.array(np.zeros(n_rows, dtype=np.int8))
    names = [f"a{j}" for j in range(n_columns)]
    pa.parquet.write_table(pa.table([column] * n_columns, names), buffer, compression="zstd")
    return buffer.getvalue()


LABELS = "dataset.labels=[a0]"
UNMAPPED = f"{LABELS} dataset.memory_map=false"
LISTED = b"a0,l\n" + b"".join(b"1,y%d\n" % i for i in range(9000))
CASES = {
    # name: file, content, override, size in the message
    "sparse arff": ("t.arff", lambda: arff(2000, 2000, "{0 1}"), LABELS, "2,000 x 2,000 values"),
    "dense arff": ("t.arff", lambda: arff(9000, 100, "1" + ",0" * 99), LABELS, "9,000 x 100"),
    "arff.gz": ("t.arff.gz", lambda: gzip.compress(b"%\n" * 2**24), LABELS, "GiB of text"),
    "long arff": ("t.arff", lambda: b"%\n" * 2**24, LABELS, "GiB of text"),
    "svmlight": ("t.svm", lambda: b"1 9999:1\n" * 999, None, "999 x 9,999 values"),
    "svmlight.gz": ("t.svm.gz", lambda: gzip.compress(b"#\n" * 2**24), None, "GiB of text"),
    "svmlight labels": ("t.svm", lambda: b"".join(b"%d 1:1\n" % i for i in range(9999)), None,
        "9,999 x 9,999 values"),
    "csv.gz": ("t.csv.gz", lambda: gzip.compress(b"a0,b\n" + b"1,0\n" * 2**23), UNMAPPED,
        "GiB of values"),
    "csv": ("t.csv", lambda: b"a0,b\n" + b"1,0\n" * 2**23, UNMAPPED, "GiB of values"),
    "csv of texts": ("t.csv", lambda: b"a0,b\n" + b"1,xxxxxxxxxxxxx\n" * 2**22, UNMAPPED,
        "GiB of values"),
    "label list": ("t.csv", lambda: LISTED, "dataset.label_list_column=l",
        "18,000 x 9,000 values"),
    "parquet": ("t.parquet", lambda: parquet(10**6, 9), UNMAPPED, "1,000,000 x 9 values"),
    "npz": ("t.npz", lambda: npz(X=np.zeros((9000, 900), np.int8), y=np.zeros(9000)), None,
        "9,000 x 900 values"),
    "npz y": ("t.npz", lambda: npz(X=np.zeros((9, 1)), y=np.zeros((9, 10**7), np.int8)), None,
        "9 x 10,000,000 values"),
    "npz header": ("t.npz", lambda: npz_of_headers(X=(10**6, 10**6), y=(10**6,)), None,
        "1,000,000 x 1,000,000 values"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_files_that_unpack_to_more_than_the_memory(case, memory, load):
    file, make, override, received = CASES[case]
    content = make()
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=MESSAGE + f".*{received}") as caught:
            load(file, content, *(override or "").split())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert file in str(caught.value)
    assert "Leave out rows or columns" in str(caught.value)
    assert peak < 100 * MIB
    assert pa.total_allocated_bytes() < 100 * MIB


SMALL = {
    "t.arff": arff(50, 50, "{0 1}"),
    "t.arff.gz": gzip.compress(arff(50, 50, "1" + ",0" * 49)),
    "t.svm": b"1,2 99:1\n" * 50,
    "t.csv": b"a0,b\n" + b"1,0\n" * 50,
    "t.csv.gz": gzip.compress(b"a0,b\n" + b"1,0\n" * 50),
    "t.parquet": parquet(50, 9),
    "t.npz": npz(X=np.zeros((50, 9)), y=np.zeros(50)),
}


@pytest.mark.parametrize("file", SMALL)
def test_small_files_are_read(file, memory, load):
    overrides = [LABELS] if file.partition(".")[2] not in ("svm", "npz") else []
    assert load(file, SMALL[file], *overrides).n_samples == 50


def test_arrays_that_are_not_used_are_not_read(memory, load):
    unused = {"other": np.zeros(10**8, np.int8), "objects": np.array([{}])}
    dataset = load("t.npz", npz(X=np.zeros((5, 2)), y=np.zeros(5), **unused))
    assert dataset.n_samples == 5


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_matrices_of_a_python_loader(kind, memory):
    y = np.zeros(10**4)
    with pytest.raises(UserError, match=MESSAGE + "10,000 x 10,000 values"):
        dataset_from_features_and_labels("t", "my.load", kind((10**4, 10**4)), y)
    with pytest.raises(UserError, match=MESSAGE + "10,000 x 10,000 values"):
        dataset_from_features_and_labels("t", "my.load", y[:, None], kind((10**4, 10**4)))
    small = kind((10**4, 10))
    assert dataset_from_features_and_labels("t", "my.load", small, y).n_features == 10


def test_sparse_data_of_openml(memory):
    from sklearn.utils import Bunch

    bunch = Bunch(frame=None, data=sparse.csr_matrix((10**4, 10**4)))
    with pytest.raises(UserError, match="OpenML 7: " + MESSAGE + "10,000 x 10,000 values"):
        _frame(bunch, "OpenML 7")


def test_synthetic_data(memory, make_config):
    with pytest.raises(UserError, match=MESSAGE + "10,000,000 x 13 values"):
        loading.load(make_config("dataset.n_samples=10000000").dataset)


V1 = "memory/job/memory"
STAT = "anon 5\ninactive_file 30\nactive_file 20\n"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {}, 2048),
        ("0::/\n", {"memory.max": "max", "memory.current": "9", "memory.stat": STAT}, 2048),
        ("0::/\n", {"memory.max": "900", "memory.current": "500", "memory.stat": STAT}, 450),
        ("0::/\n", {"memory.max": "900", "memory.current": "990", "memory.stat": STAT}, 0),
        ("0::/\n", {"memory.max": "9999", "memory.current": "5", "memory.stat": STAT}, 2048),
        (
            "0::/not/mounted\n",
            {"memory.max": "900", "memory.current": "500", "memory.stat": ""},
            400,
        ),
        ("0::/a/b\n", {"a/memory.max": "900", "a/memory.current": "1", "a/memory.stat": ""}, 899),
        (
            "4:cpu:/job\n3:cpuset,memory:/job\n",
            {
                f"{V1}.limit_in_bytes": "900",
                f"{V1}.usage_in_bytes": "500",
                f"{V1}.stat": STAT + "total_inactive_file 100\n",
            },
            520,
        ),
    ],
)
def test_the_memory_limit_of_a_container_counts(tmp_path, monkeypatch, groups, files, expected):
    monkeypatch.setattr(runtime, "PROC", tmp_path / "proc")
    monkeypatch.setattr(runtime, "CGROUP", tmp_path)
    files = {f"{tmp_path}/{name}": text for name, text in files.items()}
    files[f"{tmp_path}/proc/self/cgroup"] = groups
    files[f"{tmp_path}/proc/meminfo"] = "MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable: 2 kB\n"
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    assert reader.available_memory() == expected


def test_without_proc_as_on_macos_all_memory_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "CGROUP", tmp_path)
    monkeypatch.setattr(runtime, "PROC", tmp_path)
    sizes = {"SC_PAGE_SIZE": 100, "SC_PHYS_PAGES": 7}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert reader.available_memory() == 700


def test_the_available_memory_is_what_the_machine_has():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < reader.available_memory() <= memory
