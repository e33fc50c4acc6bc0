"""Label lists are recognised in any notation, and no label has the marks of the notation."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dataset.column_roles import ColumnRoles
from pipeline.dataset.label_columns import encode_labels
from pipeline.dataset.label_notation import MAX_DEPTH, NotationError, parse_notation
from pipeline.dataset.label_values import LabelValues
from pipeline.errors import UserError


def read(cells, separator=None, **settings):
    """Return the labels of each cell, and the notes."""
    roles = ColumnRoles((), (), "l", separator, label_values=LabelValues(**settings))
    names, y, notes = encode_labels("t", roles, pa.table({"l": pa.array(cells, pa.string())}))
    return [{names[j] for j in np.flatnonzero(row)} for row in y], notes


TMDB = '[{"id": 18, "name": "Drama"}, {"id": 35, "name": "Comedy"}]'
DRAMA = {"Drama"}
BOTH = {"Drama", "Comedy"}
NOTATIONS = {
    # name: cells, labels, part of the note
    "Python lists": (["['Drama', 'Comedy']", "['Drama']", "[]"], [BOTH, DRAMA, set()], "Python l"),
    "JSON lists": (['["Drama","Comedy"]', '["Drama"]', None], [BOTH, DRAMA, set()], "JSON lists"),
    "quotes in quotes": (["['don\\'t', \"x'y\"]", "[\"x'y\"]"], [{"don't", "x'y"}, {"x'y"}], "Pyt"),
    "escapes": (['["a\\u00e9\\n\\/"]', '["\\ud83d\\ude00"]'], [{"aé\n/".strip()}, {"😀"}], "JSON"),
    "tuples": (["('Drama', 'Comedy')", "('Drama',)", "()"], [BOTH, DRAMA, set()], "tuples"),
    "sets": (["{'Drama', 'Comedy'}", "{'Drama'}", "set()"], [BOTH, DRAMA, set()], "ets"),
    "frozen sets": (["frozenset({'Drama'})", "frozenset()"], [DRAMA, set()], ""),
    "printed arrays": (["['Drama' 'Comedy']", "['Drama'\n 'Comedy']"], [BOTH, BOTH], "lists"),
    "arrays": (["array(['Drama'], dtype=object)", "array([], dtype=object)"], [DRAMA, set()], ""),
    "numbers": (["[1, 2]", "[2]"], [{"1", "2"}, {"2"}], "lists"),
    "printed numbers": (["[1 2]", "[2]"], [{"1", "2"}, {"2"}], "lists"),
    "bare words": (["{Drama,Comedy}", '{"Drama"}', "{}"], [BOTH, DRAMA, set()], "sets"),
    "blank cells": (["['Drama']", "['Comedy']", "", "None", "nan"], [DRAMA, {"Comedy"}] +
        [set()] * 3, "Python lists"),
    "a mapping": (["{'Drama': 1, 'Comedy': 0}", "{'Drama': 1, 'Comedy': 1}"], [DRAMA, BOTH],
        "mappings"),
    "a JSON mapping": (['{"Drama": true, "Comedy": false}', "{}"], [DRAMA, set()], "JSON mapping"),
    "objects": ([TMDB, "[]", TMDB[:29].rstrip(", ") + "]"], [BOTH, set(), DRAMA], "'name'"),
    "Python objects": (["[{'id': 18, 'name': 'Drama'}]"], [DRAMA], "'name'"),
    "objects of another key": (["[{'genre': 'Drama'}, {'genre': 'Comedy'}]"], [BOTH], "'genre'"),
    "tags": (["<Drama><Comedy>", "<Drama>", ""], [BOTH, DRAMA, set()], "<a><b>"),
    "quoted": (["'Drama', 'Comedy'", "'Drama'"], [BOTH, DRAMA], "quotes"),
    "bars": (["Drama|Comedy", "(no genres, listed)"], [BOTH, {"(no genres, listed)"}], "'|'"),
    "semicolons": (["Drama;Comedy", "Drama"], [BOTH, DRAMA], "';'"),
    "commas": (["Drama, Comedy", "Drama"], [BOTH, DRAMA], "','"),
    "lists in one text": (['"[\\"Drama\\"]"', '"[\\"Comedy\\"]"'], [DRAMA, {"Comedy"}], "JSON"),
    "NumPy scalars": (["[np.str_('Drama'), np.str_('Comedy')]", "[np.str_('Drama')]"],
        [BOTH, DRAMA], "lists"),
    "NumPy arrays": (["np.array(['Drama'], dtype='<U5')", "np.array([], dtype='<U5')"],
        [DRAMA, set()], "lists"),
    "an index": (["Index(['Drama', 'Comedy'], dtype='object', name='x')"], [BOTH], "lists"),
    "counters": (["Counter({'Drama': 1})", "Counter()"], [DRAMA, set()], "mappings"),
    "default mappings": (["defaultdict(<class 'int'>, {'Drama': 1})"], [DRAMA], "mappings"),
    "lists within an object": (['{"tags": ["Drama"]}', '{"tags": []}'], [DRAMA, set()], "lists"),
    "bars in brackets": (["[Drama|Comedy]", "[Drama]", "[]"], [BOTH, DRAMA, set()], "'|'"),
    "one blank in a list": (["['Drama']", "['']", "[None]"], [DRAMA, set(), set()], "lists"),
    "blank lists among texts": (["Drama|Comedy", "[]", "-", "none"], [BOTH, *[set()] * 3],
        "'-', 'none' as no label"),
    "typographic quotes": (["[“Drama”, “Comedy”]", "[“Drama”]"], [BOTH, DRAMA], "lists"),
    "other typographic quotes": (["\u2018Drama\u2019, \u2018Comedy\u2019", "\u2018Drama\u2019"],
        [BOTH, DRAMA], "','"),
    "tabs": (["Drama\tComedy", "Drama"], [BOTH, DRAMA], "'\\t'"),
    "lines": (["- Drama\n- Comedy", "- Drama"], [BOTH, DRAMA], "'\\n'"),
    "full-width commas": (["Drama\uff0cComedy", "Drama"], [BOTH, DRAMA], "'\uff0c'"),
    "labels with values": (["Drama:1,Comedy:0", "Drama:1,Comedy:1"], [DRAMA, BOTH], "with values"),
    "lists of 0 and 1": (["[1, 0]", "[0, 1]", "[1, 1]"], [{"l_0"}, {"l_1"}, {"l_0", "l_1"}],
        "as 0 or 1 for each of 2 labels"),
    "0 and 1 with commas": (["1,0,1", "0,1,0"], [{"l_0", "l_2"}, {"l_1"}], "each of 3 labels"),
    "digits 0 and 1": (["101", "010", ""], [{"l_0", "l_2"}, {"l_1"}, set()], "each of 3 labels"),
    "one label each": (["Science Fiction", "Drama"], [{"Science Fiction"}, DRAMA], "one label"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTATIONS)
def test_a_notation_is_recognised_and_named(name):
    cells, expected, part = NOTATIONS[name]
    labels, (note,) = read(cells)
    assert labels == expected
    assert part in note
    assert note.endswith(f": {len(set.union(*expected))} labels")


@pytest.mark.parametrize(
    ("cells", "separator", "parts"),
    [
        (["haze primary", "haze", "primary"], None, ["label_separator=' '\" (2 labels)", "(3 lab"]),
        (["a/b", "a", "b"], None, ["label_separator='/'\" (2 labels)"]),
        (["a/b", "b", "a/c"], None, ["label_separator='/'\" (3 labels)", "one label (3 labels)"]),
        (["a + b", "b", "a + c"], None, ["label_separator=' + '"]),
        (["#a#b", "#b"], None, ["label_separator='#'"]),
        (["a:0.7,b:0.2", "a:0.7"], None, ["value of 'a' is '0.7'", "true_values=['>0.5']"]),
        (["<t>a</t>", "<t>b</t>"], None, ["Leave the brackets and quotes out."]),
        (["a, b; c", "a, b"], None, ["label_separator=';'\" (2", "label_separator=','\" (3"]),
        (["Washington, DC", "Boston, MA"], None, ["','\" (4 labels)", "one label (2 labels)"]),
        (["['a', 'b']", "['a'", "['b']"], None, ["\"['a'\" in column 'l', row 1", "missing"]),
        (["['a']", "['b']", "a|b"], None, ["'a|b' in column 'l', row 2", "no bracket"]),
        (["['a']", "x", "y|z"], None, ["\"['a']\" in column 'l', row 0", "separator=json"]),
        (["['a', 'b']"], ",", ["\"['a', 'b']\" in column 'l', row 0", "separator=json"]),
        (["{'a', 'b'}", "'a'"], ",", ["row 0", "without brackets and quotes"]),
        (["[['a'], 'b']"], None, ["labels is a list"]),
        (["['a', None]"], None, ["labels is None"]),
        (["['a' ... 'b']"], None, ["shortened by '...'"]),
        (["{'a': 0.7}"], None, ["value of 'a' is '0.7'", "dataset.true_values"]),
        (["[{'id': 1}]"], None, ["no 'name' that is a text, but 'id'"]),
        (["__import__('os').getcwd()"], "json", ["no bracket around it"]),
        (["[__import__('os').getcwd()]"], None, ["row 0"]),
        (["[" * 99 + "]" * 99], None, [f"more than {MAX_DEPTH} brackets"]),
        (["<a><b>", "c"], "<>", ["'c' in column 'l', row 1", "tags"]),
    ],
)
def test_other_cells_are_errors_with_what_to_type(cells, separator, parts):
    with pytest.raises(UserError) as caught:
        read(cells, separator)
    for part in parts:
        assert part in str(caught.value)


def test_labels_that_differ_in_capitals_are_named():
    assert "labels 'A b' and 'a  B' of column 'l' differ" in read(["A b|c", "a  B"])[1][1]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[("x", 1), ("y", 0)], [("y", 1)]], pa.map_(pa.string(), pa.int8())),
        pa.array([{"x": True, "y": None}, {"x": False, "y": True}]),
    ],
)
def test_typed_mappings_are_labels(column):
    names, y, _ = encode_labels("t", ColumnRoles((), (), "l"), pa.table({"l": column}))
    assert names == ("x", "y")
    assert y.tolist() == [[1, 0], [0, 1]]


def test_typed_lists_of_0_and_1_are_labels():
    column = pa.array([[1, 0, 1], [0, 1, 1]], pa.list_(pa.int8()))
    names, y, _ = encode_labels("t", ColumnRoles((), (), "l"), pa.table({"l": column}))
    assert names == ("l_0", "l_1", "l_2")
    assert y.tolist() == [[1, 0, 1], [0, 1, 1]]


def test_the_separators_that_an_error_names_are_read():
    assert read(["haze primary", "haze", "primary"], " ")[0] == [
        *({"haze", "primary"}, {"haze"}, {"primary"}),
    ]
    assert len(set.union(*read(["Washington, DC", "Boston, MA"], "|")[0])) == 2
    assert read(["{'a': 2, 'b': 0}"], true=(">0",))[0] == [{"a"}]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(st.lists(st.lists(TEXTS), min_size=1), st.sampled_from([repr, json.dumps, list, set, tuple]))
def test_what_python_and_json_write_is_read(lists, write):
    if write is json.dumps or write is repr:
        cells = [write(labels) for labels in lists]
    else:
        cells = [repr(write(labels)) for labels in lists]
    for cell, labels in zip(cells, lists, strict=True):
        parsed = [] if cell == "set()" else parse_notation(cell)
        assert set(parsed) == set(labels)
    names, _ = read(cells, "json")
    assert names == [{label.strip() for label in labels} for labels in lists]


@given(st.text("[](){}'\"\\,: a1", max_size=30))
def test_any_text_is_read_or_an_error(text):
    try:
        value = parse_notation(text)
    except NotationError:
        return
    assert isinstance(value, list | dict)
