"""OpenML data sets, read from a fake of scikit-learn's cache folder without the network."""

import gzip
import hashlib
import json
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError, URLError

import numpy as np
import pytest

from pipeline.dataset import loading
from pipeline.errors import UserError

DENSE = """@relation small
@attribute a numeric
@attribute c {x,y}
@attribute l {FALSE,TRUE}
@attribute m {FALSE,TRUE}
@data
1.5,x,TRUE,FALSE
?,y,FALSE,TRUE
3,?,TRUE,TRUE
"""
SPARSE = """@relation small
@attribute a numeric
@attribute b numeric
@attribute l {FALSE,TRUE}
@attribute m {FALSE,TRUE}
@data
{0 1.5,2 TRUE}
{1 2,3 TRUE}
{2 TRUE,3 TRUE}
"""


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Answer every request as OpenML does for an unknown data set, without waiting."""

    def urlopen(request, *args, **kwargs):
        raise HTTPError(request.full_url, 412, "Precondition failed", Message(), None)

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", urlopen)
    monkeypatch.setattr("sklearn.datasets._openml.time.sleep", lambda seconds: None)


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


def write_cache(
    home: Path, text: str, *, sparse: bool = False, targets=("l", "m"), data_id=7
) -> None:
    def put(path: str, content: bytes) -> None:
        file = home / "openml" / "openml.org" / f"{path}.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(content))

    def put_json(path: str, **content: object) -> None:
        put(f"api/v1/json/data/{path}", json.dumps(content).encode())

    attributes = [line.split()[1:] for line in text.splitlines() if line.startswith("@attribute")]
    features = [
        {
            "index": str(i),
            "name": name,
            "data_type": "numeric" if kind == "numeric" else "nominal",
            "nominal_value": kind.strip("{}").split(","),
            "is_target": str(name in targets).lower(),
            "is_ignore": "false",
            "is_row_identifier": "false",
            "number_of_missing_values": "0",
        }
        for i, (name, kind) in enumerate(attributes)
    ]
    put_json(
        f"{data_id}",
        data_set_description={
            "id": str(data_id),
            "name": "small",
            "version": "1",
            "format": "Sparse_ARFF" if sparse else "ARFF",
            "status": "active",
            "description": "fake",
            **({"default_target_attribute": ",".join(targets)} if targets else {}),
            "url": f"https://www.openml.org/data/v1/download/{data_id}/small.arff",
            "file_id": str(data_id),
            "md5_checksum": hashlib.md5(text.encode()).hexdigest(),
        },
    )
    put_json(f"features/{data_id}", data_features={"feature": features})
    put_json(
        f"qualities/{data_id}",
        data_qualities={"quality": [{"name": "NumberOfInstances", "value": "3.0"}]},
    )
    entry = {"did": data_id, "name": "small", "version": 1, "status": "active"}
    put_json("list/data_name/small/limit/2/status/active/", data={"dataset": [entry]})
    put_json("list/data_name/small/limit/2/data_version/1", data={"dataset": [entry]})
    put_json("list/data_name/two/limit/2/status/active/", data={"dataset": [entry, entry]})
    put(f"data/v1/download/{data_id}/small.arff", text.encode())


@pytest.fixture
def load(home, make_config):
    def load(*overrides: str):
        config = make_config("dataset=openml", f"dataset.data_home='{home}'", *overrides)
        return loading.load(config.dataset)

    return load


def test_targets_are_labels(home, load):
    write_cache(home, DENSE)
    dataset = load("dataset.data_id=7")
    assert dataset.name == "small"
    assert dataset.feature_names == ("a", "c")
    assert dataset.label_names == ("l", "m")
    assert dataset.categories == (None, ("x", "y"))
    np.testing.assert_array_equal(dataset.X, [[1.5, 0], [np.nan, 1], [3, np.nan]])
    assert dataset.y.tolist() == [[1, 0], [0, 1], [1, 1]]
    by_name = load("dataset.data_name=small")
    by_version = load("dataset.data_name=small", "dataset.version=1", "dataset.name=mine")
    assert by_name.digest == by_version.digest == dataset.digest
    assert by_version.name == "mine"


def test_sparse_data(home, load):
    write_cache(home, SPARSE, sparse=True)
    dataset = load("dataset.data_id=7")
    assert dataset.feature_names == ("a", "b")
    np.testing.assert_array_equal(dataset.X, [[1.5, 0], [0, 2], [0, 0]])
    assert dataset.y.tolist() == [[1, 0], [0, 1], [1, 1]]


@pytest.mark.parametrize(("text", "sparse"), [(DENSE, False), (SPARSE, True)])
def test_labels_may_be_named(text, sparse, home, load):
    write_cache(home, text, sparse=sparse, targets=("m",))
    dataset = load("dataset.data_id=7", "dataset.labels=['[lm]']", "dataset.drop=[a]")
    assert dataset.label_names == ("l", "m")
    assert dataset.n_features == 1
    assert dataset.y.tolist() == [[1, 0], [0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ([], ["either data_id or data_name", "neither"]),
        (["dataset.data_id=7", "dataset.data_name=small"], ["data_id and data_name"]),
        (["dataset.data_id=8"], ["OpenML 8", "not found"]),
        (["dataset.data_name=none"], ["OpenML none", "No active dataset"]),
        (["dataset.data_name=two"], ["one active version", "Give dataset.version"]),
        (["dataset.data_id=7", "dataset.labels=[ll]"], ["'ll'", "Did you mean 'l'?"]),
        (["dataset.data_id=7", "dataset.labels=[c]"], ["'x' in label 'c', row 0"]),
        (["dataset.data_id=7", "dataset.drop=[q]"], ["dataset.drop", "'q'"]),
    ],
)
def test_an_unknown_data_set_or_column_is_an_error(overrides, parts, home, load):
    write_cache(home, DENSE)
    with pytest.raises(UserError) as caught:
        load(*overrides)
    for part in parts:
        assert part in str(caught.value)


def test_missing_targets_are_an_error(home, load):
    write_cache(home, DENSE, targets=())
    with pytest.raises(UserError, match=r"expected default targets at OpenML\. .*dataset\.labels="):
        load("dataset.data_id=7")


def test_an_unreachable_openml_is_an_error(load, monkeypatch):
    def urlopen(*args, **kwargs):
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", urlopen)
    with pytest.raises(UserError, match=r"in its cache\. Received: Temporary failure"):
        load("dataset.data_id=7")


def test_a_damaged_cache_is_an_error(home, load):
    write_cache(home, DENSE)
    file = home / "openml/openml.org/data/v1/download/7/small.arff.gz"
    file.write_bytes(gzip.compress(DENSE.replace("1.5", "9").encode()))
    with pytest.raises(UserError, match="OpenML 7: expected"):
        load("dataset.data_id=7")


def test_the_default_cache_is_in_the_folder_of_results(make_config, monkeypatch, tmp_path):
    monkeypatch.setattr("pipeline.dataset.openml.mlruns", lambda: tmp_path)
    write_cache(tmp_path / "cache", DENSE)
    assert loading.load(make_config("dataset=openml", "dataset.data_id=7").dataset).n_samples == 3
