"""ARFF as WEKA reads it: against a naive tokenizer of its rules, and by examples."""

import string
from datetime import UTC, datetime

import arff as liac
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.schema_data import ArffConfig
from pipeline.dataset import loading
from pipeline.dataset.arff_dates import DateFormat
from pipeline.dataset.arff_parser import parse_arff
from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError

ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def naive_tokens(line: str) -> list[tuple[str, bool]]:
    """Return the tokens of a line and whether each is quoted, character by character.

    The rules are those that WEKA gives to `java.io.StreamTokenizer`: characters up to the blank and
    commas separate, % starts a comment, both quotes quote, braces stand alone, all else is words.
    """
    tokens: list[tuple[str, bool]] = []
    i = 0
    while i < len(line) and line[i] != "%":
        c = line[i]
        i += 1
        if c in "'\"":
            text = ""
            while line[i] != c:
                if line[i] == "\\":
                    i += 1
                    text += ESCAPES.get(line[i], line[i])
                else:
                    text += line[i]
                i += 1
            i += 1
            tokens.append((text, True))
        elif c in "{}":
            tokens.append((c, False))
        elif c > " " and c != ",":
            while i < len(line) and line[i] > " " and line[i] not in ",%'\"{}":
                c += line[i]
                i += 1
            tokens.append((c, False))
    return tokens


WORDS = st.text(string.ascii_letters + string.digits + "é.-:\\\xa0", min_size=1, max_size=4)
QUOTED = st.text(string.ascii_letters + " ,%'\"\\{}?\té", max_size=5)
GAPS = st.sampled_from([",", " ", "\t", ", ", " ,\t", "  "])
COMMENTS = st.sampled_from(["", "%", " % it's {a", "%50", '\t% "', ","])


@st.composite
def tokens(draw, n: int) -> tuple[str, list[str | None]]:
    """Return a text of n values with any separators, quotes and comment, and the values."""
    text, values = draw(st.sampled_from(["", " ", "\t"])), []
    for i in range(n):
        text += draw(GAPS) if i else ""
        quote = draw(st.sampled_from(["", "'", '"']))
        if quote:
            value = draw(QUOTED.filter(lambda it: "\t" not in it) | QUOTED)
            escaped = "".join(f"\\{c}" if c in f"\\{quote}" else c for c in value)
            text += quote + escaped.replace("\t", draw(st.sampled_from(["\t", "\\t"]))) + quote
        else:
            value = draw(WORDS | st.just("?"))
            text += value
            value = None if value == "?" else value
        values.append(value)
    return text + draw(COMMENTS), values


@given(data=st.data(), n=st.integers(1, 4))
@settings(max_examples=200)
def test_rows_are_read_by_the_rules_of_weka(data, n):
    rows = [data.draw(tokens(n)) for _ in range(data.draw(st.integers(1, 3)))]
    for text, values in rows:
        naive = [None if token == ("?", False) else token[0] for token in naive_tokens(text)]
        assert naive == values
    columns = [sorted({row[j] or "" for _, row in rows}) for j in range(n)]
    header = "@relation r\n" + "".join(
        f"@attribute a{j} {{{','.join(map(quote, column))}}}\n" for j, column in enumerate(columns)
    )
    table = parse_arff("t.arff", header + "@data\n" + "\n".join(text for text, _ in rows))
    for j, attribute in enumerate(table.attributes):
        assert list(attribute.categories) == columns[j]
        expected = [np.nan if row[j] is None else columns[j].index(row[j]) for _, row in rows]
        np.testing.assert_array_equal(table.values[:, j], expected)


def quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@given(
    values=st.lists(WORDS.filter(lambda it: it != "?") | QUOTED, min_size=1, unique=True),
    data=st.data(),
)
@settings(max_examples=100)
def test_categories_are_read_by_the_rules_of_weka(values, data):
    quoted = [
        quote(value) if set(value) & set("\\ ,%'\"{}?\t") or not value else value
        for value in values
    ]
    text = "".join(value + data.draw(GAPS) for value in quoted)
    comment = data.draw(COMMENTS)
    assert [token for token, _ in naive_tokens(f"{text}}}{comment}")] == [*values, "}"]
    header = f"@relation r\n@attribute a {{{text}}}{comment}\n@data\n?\n"
    (attribute,) = parse_arff("t.arff", header).attributes
    assert list(attribute.categories) == values


CASES = {
    # name: header behind the relation's name, rows, features
    "comment behind all": (
        "%50\n@attribute f numeric % it's\n@attribute l {0,1} % no, yes\n@data % now",
        "1,0 % a 'comment\n2,1%\n3\t1",
        [1, 2, 3],
    ),
    "tabs and blanks": (
        "\n@attribute f\treal\n@ATTRIBUTE l\t{0\t1}\n@Data",
        "1 0\n2\t1\n3,\t1",
        [1, 2, 3],
    ),
    "a comma at the end": (
        "\n@attribute f real\n@attribute l {0, 1,}\n@data",
        "1,0,\n2,1,\n3,1",
        [1, 2, 3],
    ),
    "an empty value": (
        "\n@attribute f real\n@attribute l {0,1}\n@data",
        "1,0\n,1\n3,1",
        [1, np.nan, 3],
    ),
    "sparse blanks": (
        "\n@attribute f real\n@attribute l {0,1}\n@data",
        "{0 1}\n{ 0\t2 ,1  1 } % x\n{0 3 1 '1'}",
        [1, 2, 3],
    ),
    "a no-break space is no blank": (
        "\n@attribute c {\xa0,\xa0x}\n@attribute l {0,1}\n@data",
        "\xa0,0\n\xa0x 1\n{0 \xa0x,1 1}",
        [0, 1, 1],
    ),
    "no blank before braces": (
        "\n@attribute'f'real\n@attribute l{0,1}\n@data",
        "1,0\n2,1\n3,1",
        [1, 2, 3],
    ),
    "range of a number": (
        "\n@attribute f real [0, 9]\n@attribute l {0,1} {2}\n@data",
        "1,0\n2,1\n3,1",
        [1, 2, 3],
    ),
    "weights of 1": (
        "\n@attribute f real\n@attribute l {0,1}\n@data",
        "1,0,{1}\n2,1 {1.0}\n{0 3,1 1},{1}",
        [1, 2, 3],
    ),
    "nested attributes": (
        "\n@attribute f real\n@attribute bag relational\n@attribute g real\n"
        "@end bag\n@attribute l {0,1}\n@data",
        "1,'4\\n5',0\n2,?,1\n3,'',1",
        [1, 2, 3],
    ),
}


@pytest.fixture
def load(tmp_path):
    def load(text: str, **more) -> Dataset:
        path = tmp_path / "t.arff"
        path.write_text(text)
        arguments = {
            **{"kind": "arff", "path": str(path), "xml": None, "test_path": None, "labels": None},
            **{"drop": (), "predict_rows": (), "name": None, "instance_weights": None},
            **{"true_values": (), "false_values": (), "drop_duplicates": False},
            **{
                "missing_labels": "refuse",
                "label_na_values": (),
                "time_column": None,
                "weight_column": None,
            },
        }
        return loading.load(ArffConfig(**arguments | more))

    return load


@pytest.mark.parametrize("case", CASES)
def test_published_rules(case, load):
    header, rows, expected = CASES[case]
    drop = ("bag",) if "bag" in header else ()
    dataset = load(f"@relation 'x:-C -1'{header}\n{rows}\n", drop=drop)
    np.testing.assert_array_equal(dataset.X.ravel(), expected)
    assert dataset.y.ravel().tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "relation",
    [
        "'x:-C -2'",
        '"x: -C -2 -S 1"',
        "x:-C -2 %50",
        "'x:-C -2'%50",
        "'it\\'s: -c  -2'",
        "-C\t-2",
        "'-V %50:-C -2'",
    ],
)
def test_labels_in_the_name_of_the_relation(relation, load):
    header = "@attribute f real\n@attribute a {0,1}\n@attribute b {0,1}\n@data\n"
    assert load(f"@relation {relation}\n{header}1,0,1\n2,1,0\n").label_names == ("a", "b")


HEADER = "@relation 'r: -C -1'\n@attribute f real\n@attribute l {0,1}\n@data\n"


@pytest.mark.parametrize("weight", [",{2}", " {2}", "{2}", ", { 2 } % twice", ",\t{'2'},"])
@pytest.mark.parametrize("row", ["3,1", "{0 3,1 1}"])
def test_instance_weights_are_read_or_ignored(weight, row, load):
    text = f"{HEADER}1,0\n2,1\n{row}{weight}\n"
    for options, expected in (({}, [1, 1, 2]), ({"instance_weights": "ignore"}, None)):
        dataset = load(text, **options)
        np.testing.assert_array_equal(dataset.X.ravel(), [1, 2, 3])
        assert (dataset.sample_weight is None) == (expected is None) == (not dataset.notes)
        assert expected is None or dataset.sample_weight.tolist() == expected
    assert load(f"{HEADER}1,0,{{1}}\n2,1\n").sample_weight is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEADER}1,0\n2,1\n".replace("f real", "w {1,2}"), "numbers .*'w' of kind nominal"),
        (f"{HEADER}1,0,{{3}}\n2,1\n".replace("f real", "w real"), "one weight for each row"),
        (f"{HEADER}1,0\n2,1\n", "columns that exist in dataset.weight_column. Received: 'w'"),
        (f"{HEADER}1,0\n?,1\n".replace("f real", "w real"), "Received: nan in row 1"),
        (f"{HEADER}1,0\n-2,1\n".replace("f real", "w real"), "Received: -2 in row 1"),
    ],
)
def test_other_attributes_of_weights_are_errors(text, message, load):
    text = text.replace("@attribute l", "@attribute g real\n@attribute l")
    text = text.replace("\n1,0", "\n1,5,0").replace(",1\n", ",6,1\n")
    with pytest.raises(UserError, match=message):
        load(text, weight_column="w")


@pytest.mark.parametrize(
    ("row", "message"),
    [("3,1,{x}", "weight .*'x' in line 5"), ("3,1,{-1}", "weight"), ("3,1,{}", "line 5"),
     ("3,1,{2", "line 5"), ("3,1,{2},{3}", "line 5"), ("3,1,{nan}", "weight"),
     ("3%,1", "2 values .* 1 in line 5, .* A % outside of quotes starts a comment"),
     ("3,it's", "matching quotes.*line 5"), ("{0 3 1}", "sparse row"), ("{0 3}x", "sparse row"),
     ("3,?x", "'.x' in line 5")],
)  # fmt: skip
def test_invalid_rows_are_named(row, message, load):
    with pytest.raises(UserError, match=message):
        load(HEADER + row + "\n")


def test_names_and_categories_in_any_quotes(load):
    header = "@relation \"a 'b': -C -1\"\n@attribute \"it's\" {'a b',\"c,d\",'\\'e\\'','f%g'}\n"
    text = (
        header
        + '@attribute \'say \\"x\\"\' {"0",\'1\'}\n@data\n"a b",0\n'
        + "'c,d' \"1\"\n\"'e'\",1\n'f%g',1\n"
    )
    dataset = load(text)
    assert dataset.feature_names == ("it's",)
    assert dataset.categories == (("a b", "c,d", "'e'", "f%g"),)
    assert dataset.label_names == ('say "x"',)
    assert dataset.X.ravel().tolist() == [0, 1, 2, 3]


def test_blanks_in_values_without_quotes_belong_to_them_if_all_rows_say_so(load):
    text = HEADER.replace("f real", "f {New York, LA}")
    assert load(text + "New York,0\nLA,1\n").categories == (("New York", "LA"),)
    assert load(text + "York,0\nLA,1\n").categories == (("New", "York", "LA"),)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("", "2001-04-03T12:11:10"), ('"yyyy-MM-dd HH:mm:ss"', "2001-04-03 12:11:10"),
        ("'dd/MM/yyyy, hh:mm:ss a'", "3/4/2001, 12:11:10 PM"), ("yyyyMMddHHmmss", "20010403121110"),
        ("'EEE, d MMM yyyy KK:m:s a'", "Tue, 3 Apr 2001 00:11:10 pm"),
        ('"d. MMMM yy HH:mm:ss.SSS Z"', "3. April 01 14:11:10.000 +0200"),
        ("'yyyy-MM-dd\\'T\\'HH:mm:ssX'", "2001-04-03T12:11:10Z"),
    ],
)  # fmt: skip
def test_dates_are_seconds_since_1970(pattern, text, load, tmp_path):
    header = HEADER.replace("f real", f"f date {pattern}")
    dataset = load(f"{header}'{text}',0\n?,1\n\"{text}\",1\n")
    seconds = datetime(2001, 4, 3, 12, 11, 10, tzinfo=UTC).timestamp()
    read = parse_arff("t.arff", (tmp_path / "t.arff").read_text()).values[:, 0]
    np.testing.assert_array_equal(read, [seconds, np.nan, seconds])
    assert dataset.schema.columns[0].kind == "datetime"


@given(moment=st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))
@settings(max_examples=60)
@pytest.mark.parametrize(
    ("java", "python"),
    [("yyyy-MM-dd HH:mm:ss", "%Y-%m-%d %H:%M:%S"), ("dd.MM.yyyy hh:mm a", "%d.%m.%Y %I:%M %p"),
     ("MMM d, yyyy", "%b %d, %Y"), ("yyyyMMdd", "%Y%m%d"), ("''yyyy''", "'%Y'"),
     ("EEEE dd MMMM yyyy", "%A %d %B %Y")],
)  # fmt: skip
def test_dates_agree_with_strptime(java, python, moment):
    text = moment.strftime(python)
    expected = datetime.strptime(text, python).replace(tzinfo=UTC).timestamp()
    assert DateFormat(java).parse(text) == expected


@pytest.mark.parametrize(
    ("pattern", "value", "message"),
    [("yyyy-MM-dd", "2001-02-30", "a date yyyy-MM-dd in attribute 'f'. Received: '2001-02-30'"),
     ("yyyy-MM-dd", "x", "a date"), ("HH:mm", "12:00", "no year in 'HH:mm'"),
     ("yyyy-ww", "2001-03", "the letters 'ww'"), ("\"yyyy'\"", "1", "a quote that is not closed")],
)  # fmt: skip
def test_invalid_dates_are_named(pattern, value, message, load):
    with pytest.raises(UserError, match=message):
        load(HEADER.replace("f real", f"f date {pattern}") + f"{value},0\n")


SPARSE = st.dictionaries(st.integers(0, 4), st.sampled_from(["x", "y z", "w,'"]), max_size=4)


@given(rows=st.lists(SPARSE, min_size=1, max_size=4))
@settings(max_examples=60)
def test_sparse_rows_agree_with_liac_arff(rows):
    categories = ["w,'", "x", "y z"]
    text = liac.dumps(
        {"relation": "r", "attributes": [(f"a{j}", categories) for j in range(5)], "data": rows}
    )
    table = parse_arff("t.arff", text)
    expected = [[categories.index(row.get(j, categories[0])) for j in range(5)] for row in rows]
    np.testing.assert_array_equal(table.values, expected)
