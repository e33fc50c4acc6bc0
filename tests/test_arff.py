"""ARFF files against published statistics and against liac-arff."""

import gzip
import string

import arff as liac
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dataset import loading
from pipeline.dataset.arff_parser import parse_arff
from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError

PUBLISHED = {
    # name: rows, features, labels, cardinality, density, distinct label sets
    "emotions": (593, 72, 6, 1.868, 0.311, 27),
    "yeast": (2417, 103, 14, 4.237, 0.303, 198),
    "flags": (194, 19, 7, 3.392, 0.485, 54),
    "foodtruck": (407, 21, 12, 2.290, 0.191, 116),
    "birds": (645, 260, 19, 1.014, 0.053, 133),
    "medical": (978, 1449, 45, 1.245, 0.028, 94),
    "bibtex": (7395, 1836, 159, 2.402, 0.015, 2856),
    "meka_music": (592, 71, 6, 1.870, 0.312, 27),
}
HEADER = "@relation r\n@attribute a numeric\n@attribute c {x,'y z'}\n@attribute l {0,1}\n@data\n"


@pytest.fixture
def load(tmp_path, make_config):
    """Write a file, and an XML beside it if given, and load them with some overrides."""

    def load(text: str, *overrides: str, xml: str | None = None, file="t.arff") -> Dataset:
        path = tmp_path / file
        content = text.encode()
        path.write_bytes(gzip.compress(content) if file.endswith(".gz") else content)
        if xml is not None:
            (tmp_path / "t.xml").write_text(xml)
        return loading.load(
            make_config("dataset=arff", f"dataset.path='{path}'", *overrides).dataset
        )

    return load


@pytest.fixture
def load_shared(shared_data, make_config):
    def load(name: str) -> Dataset:
        return loading.load(
            make_config("dataset=arff", f"dataset.path='{shared_data}/{name}.arff'").dataset
        )

    return load


@pytest.mark.parametrize("name", PUBLISHED)
def test_real_data_have_their_published_statistics(name, load_shared):
    dataset = load_shared(name)
    n_samples, n_features, n_labels, cardinality, density, n_sets = PUBLISHED[name]
    assert dataset.X.shape == (n_samples, n_features)
    assert dataset.y.shape == (n_samples, n_labels)
    assert dataset.y.sum(axis=1).mean() == pytest.approx(cardinality, abs=5e-4)
    assert dataset.y.mean() == pytest.approx(density, abs=5e-4)
    assert len({row.tobytes() for row in dataset.y}) == n_sets
    assert dataset.X.dtype == np.float32
    assert not dataset.warnings


def test_real_nominal_features_are_categories(load_shared):
    flags = load_shared("flags")
    assert sum(names is not None for names in flags.categories) == 9
    assert flags.categories[flags.feature_names.index("zone")] == ("1", "2", "3", "4")
    food = load_shared("foodtruck")
    assert sum(names is not None for names in food.categories) == 4
    assert food.X[0, food.feature_names.index("time")] == 3  # dinner
    birds = load_shared("birds")
    assert sum(names is not None for names in birds.categories) == 2
    assert "Swainson's Thrush" in birds.label_names
    assert (birds.y.sum(axis=1) == 0).sum() == 294
    assert load_shared("medical").y.sum(axis=0).min() == 1


def test_real_targets_of_five_values_are_errors(load_shared):
    with pytest.raises(UserError, match=r"0 or 1 .*Received: '2' in label 'c-class', row 45"):
        load_shared("meka_solar_flare")


def test_labels_keep_the_order_of_the_xml_file(load_shared, shared_data):
    yeast = load_shared("yeast")
    text = (shared_data / "yeast.xml").read_text()
    positions = [text.index(f'"{label}"') for label in yeast.label_names]
    assert positions == sorted(positions)
    assert yeast.label_names != tuple(sorted(yeast.label_names))


def test_labels_by_xml_relation_or_name(load):
    rows = "1,x,0\n2,'y z',1\n?,?,1\n"
    by_xml = load(HEADER + rows, xml='<labels><label name="l"/></labels>')
    assert by_xml.label_names == ("l",)
    assert by_xml.categories == (None, ("x", "y z"))
    np.testing.assert_array_equal(by_xml.X, [[1, 0], [2, 1], [np.nan, np.nan]])
    assert by_xml.y.ravel().tolist() == [0, 1, 1]
    by_name = load(HEADER + rows, "dataset.labels=[l]")
    by_relation = load(HEADER.replace("relation r", "relation 'r: -C -1'") + rows, file="m.arff")
    assert by_name.digest == by_relation.digest == by_xml.digest
    zipped = load(HEADER + rows, "dataset.labels=[l]", file="z.arff.gz")
    assert zipped.digest == by_xml.digest
    assert zipped.name == "z"


def test_meka_labels_may_come_first(load):
    text = "@relation 'Music: -C 2 -S 1'\n@attribute l {0,1}\n@attribute m {1,0}\n"
    dataset = load(text + "@attribute a real\n@data\n0,1,5\n1,0,6\n")
    assert dataset.label_names == ("l", "m")
    assert dataset.y.tolist() == [[0, 1], [1, 0]]
    assert dataset.schema.decode(dataset.X)["a"].tolist() == [5, 6]


def test_omitted_values_of_a_sparse_row_are_zero_or_the_first_category(load):
    text = HEADER.replace("{0,1}", "{1,0}") + "{}\n{0 2.5, 1 'y z', 2 0}\n{0 ?,2 1}\n"
    dataset = load(text, "dataset.labels=[l]")
    np.testing.assert_array_equal(dataset.X, [[0, 0], [2.5, 1], [np.nan, 0]])
    assert dataset.y.ravel().tolist() == [1, 0, 1]


@pytest.mark.parametrize("kind", ["{FALSE,TRUE}", "{no,yes}", "numeric", "{0,1,2}"])
def test_any_spelling_of_labels(kind, load):
    no, yes = ("0", "1") if "0" in kind or kind == "numeric" else kind[1:-1].split(",")
    dataset = load(HEADER.replace("{0,1}", kind) + f"1,x,{no}\n2,x,{yes}\n", "dataset.labels=[l]")
    assert dataset.y.ravel().tolist() == [0, 1]


def test_attributes_may_be_dropped(load):
    text = HEADER.replace("numeric", "string") + "'free text',x,0\nb,x,1\n"
    dataset = load(text, "dataset.labels=[l]", "dataset.drop=[a]")
    assert dataset.feature_names == ("c",)


def test_comments_blanks_and_line_ends(load):
    text = f"% hello\r\n\r\n{HEADER}% more\r\n 1 , x ,\t0 \r\n\r\n2,'y z',1".replace(
        "@data", "@DATA"
    )
    dataset = load(text, "dataset.labels=[l]")
    np.testing.assert_array_equal(dataset.X, [[1, 0], [2, 1]])


# liac-arff writes braces, and quotes in names, as they are: no ARFF, so none here
NAMES = st.text(string.ascii_letters + string.digits + " ,%é", min_size=1, max_size=6)
CATEGORIES = st.text(string.ascii_letters + string.digits + " ,'\"%\\é", min_size=1, max_size=6)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-999, 999) | st.none()


@given(data=st.data(), names=st.lists(NAMES, min_size=1, max_size=4, unique=True))
@settings(max_examples=150)
def test_the_parser_agrees_with_liac_arff(data, names):
    types = [
        data.draw(st.just("REAL") | st.lists(CATEGORIES, min_size=1, max_size=3, unique=True))
        for _ in names
    ]
    rows = [
        [
            data.draw(NUMBERS if type_ == "REAL" else st.none() | st.sampled_from(type_))
            for type_ in types
        ]
        for _ in range(data.draw(st.integers(1, 5)))
    ]
    text = liac.dumps(
        {"relation": "r", "attributes": list(zip(names, types, strict=True)), "data": rows}
    )
    dataset = parse_arff("t.arff", text)
    assert [attribute.name for attribute in dataset.attributes] == names
    for j, attribute in enumerate(dataset.attributes):
        expected = [row[j] for row in rows]
        if attribute.kind == "nominal":
            assert list(attribute.categories) == types[j]
            codes = {None: np.nan, **{text: i for i, text in enumerate(types[j])}}
            expected = [codes[value] for value in expected]
        np.testing.assert_array_equal(dataset.values[:, j], np.array(expected, dtype=float))


@given(text=st.text("@datribue {}01,x'\"%?\n\\", max_size=60))
@settings(max_examples=300)
def test_garbage_is_an_error_or_read(text):
    for content in (text, HEADER + text):
        try:
            parse_arff("t.arff", content)
        except UserError as error:
            assert str(error).startswith("t.arff: expected")  # noqa: PT017


@pytest.mark.parametrize("number", ["9" * 5000, "99999999999"])
def test_numbers_of_too_many_digits_are_errors(number, load):
    with pytest.raises(UserError, match="a sparse row"):
        load(HEADER + f"{{{number} 1}}\n", "dataset.labels=[l]")
    with pytest.raises(UserError, match="one -C n in the relation"):
        load(HEADER.replace("n r", f"n 'r: -C {number}'") + "1,x,0\n")


def test_a_quoted_question_mark_is_a_category(load):
    text = HEADER.replace("'y z'", "'?'") + "1,x,0\n2,'?',1\n3,?,1\n"
    dataset = load(text, "dataset.labels=[l]")
    assert dataset.categories == (None, ("x", "?"))
    np.testing.assert_array_equal(dataset.X[:, 1], [0, 1, np.nan])
    rows = dataset.schema.decode(dataset.X)
    assert rows["c"].tolist() == ["x", "?", None]
    np.testing.assert_array_equal(dataset.schema.encode(rows), dataset.X)
