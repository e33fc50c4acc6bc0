"""What is kept is what was parsed, or it is not used."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.dataset import cache
from pipeline.dataset.cache import cached
from pipeline.dataset.dataset import Dataset


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(cache, "mlruns", lambda: tmp_path / "mlruns")
    return tmp_path / "mlruns" / "cache" / "datasets"


def make(X=((0.0, -0.0), (np.nan, 4.5)), **more) -> Dataset:
    n_features = np.shape(X)[1]
    arguments = {
        "name": "small",
        "X": np.array(X, dtype=np.float32),
        "y": np.array([[0, 1]] * (len(X) - 1) + [[1, 0]], dtype=np.int8),
        "feature_names": tuple(f"é{i}" for i in range(n_features)),
        "label_names": ("l", "m\0"),
        "categories": (("x", "y\n"), *[None] * (n_features - 1)),
        "source": "here",
    }
    return Dataset(**{**arguments, **more})


def never() -> Dataset:
    raise AssertionError("parsed again")


def same(one: Dataset, other: Dataset) -> bool:
    assert one.X.tobytes() == other.X.tobytes()
    for key in ("feature_names", "label_names", "categories", "warnings", "digest"):
        assert getattr(one, key) == getattr(other, key)
    np.testing.assert_array_equal(one.y, other.y)
    return True


def test_what_was_kept_comes_back():
    built = cached("arff", [b"file"], "small", "here", make)
    kept = cached("arff", [b"file"], "other", "there", never)
    assert same(built, kept)
    assert (kept.name, kept.source) == ("other", "there")


@given(
    X=arrays(
        st.sampled_from([np.float32, np.float64]),
        st.tuples(st.integers(1, 5), st.integers(1, 4)),
        elements=st.floats(width=32, allow_infinity=False) | st.just(0.0),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_table_comes_back(X):
    X[0] = np.nan_to_num(X[0])
    parts = [X.tobytes(), repr((X.shape, X.dtype)).encode()]
    built = cached("arff", parts, "small", "here", lambda: make(X))
    assert same(built, cached("arff", parts, "small", "here", never))


@pytest.mark.parametrize(
    ("kind", "parts"), [("arff", [b"filf"]), ("arff", [b"fil", b"e"]), ("svmlight", [b"file"])]
)
def test_whatever_shapes_the_table_is_part_of_the_key(kind, parts, monkeypatch):
    cached("arff", [b"file"], "small", "here", make)
    with pytest.raises(AssertionError, match="parsed again"):
        cached(kind, parts, "small", "here", never)
    monkeypatch.setattr(cache, "VERSION", -1)
    with pytest.raises(AssertionError, match="parsed again"):
        cached("arff", [b"file"], "small", "here", never)


@pytest.mark.parametrize("at", [0, 0.2, 0.4, 0.6, 0.8, 0.99])
@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_file_is_written_anew(at, damage, folder):
    built = cached("arff", [b"file"], "small", "here", make)
    (file,) = folder.iterdir()
    content = bytearray(file.read_bytes())
    place = int(at * len(content))
    content[place] ^= 0xFF
    damaged = {"cut": content[:place], "flip": content, "empty": b"", "text": b"hello"}[damage]
    file.write_bytes(damaged)
    calls = []
    again = cached("arff", [b"file"], "small", "here", lambda: calls.append(1) or make())
    assert same(built, again)
    assert same(built, cached("arff", [b"file"], "small", "here", never))


def test_pickles_are_never_read(folder):
    cached("arff", [b"file"], "small", "here", make)
    (file,) = folder.iterdir()
    with file.open("wb") as opened:
        np.savez(opened, texts=np.array([{}], dtype=object))
    assert cached("arff", [b"file"], "small", "here", make).digest == make().digest


def test_no_temporary_file_stays_behind(folder):
    cached("arff", [b"file"], "small", "here", make)
    assert [file.suffix for file in folder.iterdir()] == [".npz"]


def test_where_nothing_can_be_kept_it_is_parsed(tmp_path):
    (tmp_path / "mlruns").write_text("a file where a folder should be")
    assert cached("arff", [b"file"], "small", "here", make).digest == make().digest


def test_a_changed_file_is_read_again(tmp_path, make_config):
    from pipeline.dataset import loading

    path = tmp_path / "t.arff"
    config = make_config("dataset=arff", f"dataset.path='{path}'", "dataset.labels=[l]").dataset
    header = "@relation r\n@attribute a real\n@attribute l {0,1}\n@data\n"
    path.write_text(f"{header}1,0\n2,1\n")
    assert loading.load(config).X.ravel().tolist() == [1, 2]
    path.write_text(f"{header}1,0\n3,1\n")
    assert loading.load(config).X.ravel().tolist() == [1, 3]
