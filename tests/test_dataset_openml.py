"""OpenML, as a cache folder that scikit-learn would have left: no test reaches for the network."""

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
    """Answer like OpenML that does not know, and never wait."""

    def urlopen(request, *args, **kwargs):
        raise HTTPError(request.full_url, 412, "Precondition failed", Message(), None)

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", urlopen)
    monkeypatch.setattr("sklearn.datasets._openml.time.sleep", lambda seconds: None)


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


def stand_in(home: Path, text: str, *, sparse: bool = False, targets=("l", "m"), data_id=7) -> None:
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
            "description": "stands in",
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
    found = {"did": data_id, "name": "small", "version": 1, "status": "active"}
    put_json("list/data_name/small/limit/2/status/active/", data={"dataset": [found]})
    put_json("list/data_name/small/limit/2/data_version/1", data={"dataset": [found]})
    put_json("list/data_name/two/limit/2/status/active/", data={"dataset": [found, found]})
    put(f"data/v1/download/{data_id}/small.arff", text.encode())


@pytest.fixture
def load(home, make_config):
    def load(*overrides: str):
        config = make_config("dataset=openml", f"dataset.data_home='{home}'", *overrides)
        return loading.load(config.dataset)

    return load


def test_targets_are_labels(home, load):
    stand_in(home, DENSE)
    found = load("dataset.data_id=7")
    assert found.name == "small"
    assert found.feature_names == ("a", "c")
    assert found.label_names == ("l", "m")
    assert found.categories == (None, ("x", "y"))
    np.testing.assert_array_equal(found.X, [[1.5, 0], [np.nan, 1], [3, np.nan]])
    assert found.y.tolist() == [[1, 0], [0, 1], [1, 1]]
    by_name = load("dataset.data_name=small")
    by_version = load("dataset.data_name=small", "dataset.version=1", "dataset.name=mine")
    assert by_name.digest == by_version.digest == found.digest
    assert by_version.name == "mine"


def test_a_sparse_one(home, load):
    stand_in(home, SPARSE, sparse=True)
    found = load("dataset.data_id=7")
    assert found.feature_names == ("a", "b")
    np.testing.assert_array_equal(found.X, [[1.5, 0], [0, 2], [0, 0]])
    assert found.y.tolist() == [[1, 0], [0, 1], [1, 1]]


@pytest.mark.parametrize(("text", "sparse"), [(DENSE, False), (SPARSE, True)])
def test_labels_may_be_named(text, sparse, home, load):
    stand_in(home, text, sparse=sparse, targets=("m",))
    found = load("dataset.data_id=7", "dataset.labels=['[lm]']", "dataset.drop=[a]")
    assert found.label_names == ("l", "m")
    assert found.n_features == 1
    assert found.y.tolist() == [[1, 0], [0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("overrides", "words"),
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
def test_what_is_not_there_is_refused(overrides, words, home, load):
    stand_in(home, DENSE)
    with pytest.raises(UserError) as caught:
        load(*overrides)
    for word in words:
        assert word in str(caught.value)


def test_no_targets_are_refused(home, load):
    stand_in(home, DENSE, targets=())
    with pytest.raises(UserError, match=r"expected targets\. .*dataset\.labels="):
        load("dataset.data_id=7")


def test_without_a_network_one_is_told(load, monkeypatch):
    def urlopen(*args, **kwargs):
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", urlopen)
    with pytest.raises(UserError, match=r"within reach\. Received: Temporary failure"):
        load("dataset.data_id=7")


def test_a_damaged_cache_is_refused(home, load):
    stand_in(home, DENSE)
    file = home / "openml/openml.org/data/v1/download/7/small.arff.gz"
    file.write_bytes(gzip.compress(DENSE.replace("1.5", "9").encode()))
    with pytest.raises(UserError, match="OpenML 7: expected"):
        load("dataset.data_id=7")


def test_the_usual_cache_is_in_the_folder_of_results(make_config, monkeypatch, tmp_path):
    monkeypatch.setattr("pipeline.dataset.openml.mlruns", lambda: tmp_path)
    stand_in(tmp_path / "cache", DENSE)
    assert loading.load(make_config("dataset=openml", "dataset.data_id=7").dataset).n_samples == 3
