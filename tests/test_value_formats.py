"""Numbers and dates in other spellings are read where all values agree, else refused by name."""

import json
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dataset import loading
from pipeline.errors import UserError
from pipeline.preprocessing.table_schema import Column, TableSchema
from pipeline.preprocessing.value_formats import DATE_FORMATS, number_format, parse_formatted


@pytest.fixture
def load(tmp_path, make_config):
    """Load a CSV file of a column `a` with texts, and a label."""

    def load(cells, *overrides, separator=",", file="t.csv"):
        path = tmp_path / file
        frame = pd.DataFrame({"a": cells, "l": [i % 2 for i in range(len(cells))]})
        frame.to_csv(path, index=False, sep=separator)
        settings = ("dataset=table", f"dataset.path='{path}'", "dataset.labels=[l]")
        return loading.load(make_config(*settings, *overrides).dataset)

    return load


def seconds(*date):
    return datetime(*date, tzinfo=UTC).timestamp()


FORMATS = {
    # name: texts, numbers, part of the note
    "thousands": (["950", "1,180", "65,937", None], [950, 1180, 65937, np.nan], "1,234.5"),
    "millions": (["1,180,000", "2,004,500.25"], [1180000, 2004500.25], "1,234.5"),
    "lakhs": (["1,00,000", "12,34,567"], [100000, 1234567], "1,234.5"),
    "points between thousands": (["1.180.000", "2.004,5"], [1180000, 2004.5], "1.234,5"),
    "blanks": (["1 180", "65\N{NO-BREAK SPACE}937", "7\N{THIN SPACE}000"], [1180, 65937, 7000],
        "1 234.5"),
    "narrow blanks": (["1\N{NARROW NO-BREAK SPACE}180,5", "2"], [1180.5, 2], "1 234,5"),
    "apostrophes": (["1'180", "2\N{RIGHT SINGLE QUOTATION MARK}004.5"], [1180, 2004.5], "1'234.5"),
    "decimal commas": (["0,5", "-2,25"], [0.5, -2.25], "1234,5"),
    "percent": (["12%", "15 %", "9.5%"], [12, 15, 9.5], "1234.5%"),
    "currency before": (["$1,200.00", "-$5", "($900.00)"], [1200, -5, -900], "$1,234.5"),
    "currency behind": (["1.200,50 €", "3 €"], [1200.5, 3], "1.234,5 €"),
    "currency code": (["USD 1200", "USD 3.5"], [1200, 3.5], "USD1234.5"),
    "units": (["3 kg", "4.5 kg"], [3, 4.5], "1234.5 kg"),
    "units without a blank": (["21.5°C", "-3°C"], [21.5, -3], "1234.5°C"),
    "singular and plural": (["1 year", "2 years"], [1, 2], "1234.5 year"),
    "minus sign": (["\N{MINUS SIGN}5", "\N{EN DASH}2.5", "3"], [-5, -2.5, 3], "1234.5"),
    "trailing minus": (["5-", "1.5"], [-5, 1.5], "1234.5"),
    "brackets": (["(5)", "1.5"], [-5, 1.5], "1234.5"),
    "powers of ten": (["1.5x10^3", "2e5", "3"], [1500, 2e5, 3], "1234.5"),
    "day first": (["11/03/2024", "31/12/2024", ""], [seconds(2024, 3, 11), seconds(2024, 12, 31),
        np.nan], "31/12/2026"),
    "day first, points and times": (["11.03.2024 14:30", "31.12.2024"],
        [seconds(2024, 3, 11, 14, 30), seconds(2024, 12, 31)], "31/12/2026"),
    "month first": (["03/11/24", "12/31/1999"], [seconds(2024, 3, 11), seconds(1999, 12, 31)],
        "12/31/2026"),
    "year first": (["2024/03/11", "2024/12/31"], [seconds(2024, 3, 11), seconds(2024, 12, 31)],
        "2026/12/31"),
    "names of months": (["11 Mar 2024", "March 3, 2024 2:05 PM"], [seconds(2024, 3, 11),
        seconds(2024, 3, 3, 14, 5)], "31 Dec 2026"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_recognised_and_served(name, load):
    cells, expected, part = FORMATS[name]
    dataset = load(cells)
    numbers = dataset.X[:, 0] + dataset.schema.offsets[0]
    np.testing.assert_allclose(numbers, expected, rtol=1e-7)
    assert f"'a' read as {'dates' if part in DATE_FORMATS else 'numbers'}" in dataset.notes[0]
    assert part in dataset.notes[0]
    schema = TableSchema.from_dict(json.loads(json.dumps(dataset.schema.as_dict())))
    assert schema == dataset.schema
    np.testing.assert_array_equal(schema.encode(pd.DataFrame({"a": cells})), dataset.X)
    for row, cell in enumerate(cells):
        np.testing.assert_array_equal(schema.encode(pd.DataFrame({"a": [cell]})), dataset.X[[row]])
    np.testing.assert_array_equal(schema.encode(schema.decode(dataset.X)), dataset.X)


@pytest.mark.parametrize(
    ("cells", "parts"),
    [
        (["1,180", "2,004"], ["1180 with \"dataset.thousands=','\"", '1.18 with "dataset.dec']),
        (["1.180 €", "2.004 €"], ["1.18 with \"dataset.decimal='.'\"", "dataset.thousands='.'"]),
        (["01/02/2024", "03/04/2024"], ["dataset.dayfirst=true", "'01/02/2024'"]),
        (["3 kg", "500 g"], ["'3 kg' in row 0", "the same unit", 'drop=["a"]']),
        (["$5", "€6"], ["'$5' in row 0", "dataset.categorical"]),
        (["$5", "$6", "five"], ["'five' in row 2"]),
        (["12%", "0.15", "9%"], ["'0.15' in row 1"]),
        (["1.2M", "300k"], ["'1.2M' in row 0"]),
        (["31/12/2024", "12/31/2024"], ["'31/12/2024' in row 0", "2026-01-31"]),
        (["1,5", "2.5", "3,5"], ["in column 'a'"]),
    ],
)
def test_other_columns_are_refused_by_name_with_what_to_type(load, cells, parts):
    with pytest.raises(UserError, match="in column 'a'") as caught:
        load(cells)
    for part in parts:
        assert part in str(caught.value)
    assert load(cells, "dataset.categorical=[a]").categories == (tuple(sorted(cells)),)


def test_settings_decide_between_two_readings(load):
    cells = ["1,180", "2,004"]
    assert load(cells, "dataset.thousands=','").X.ravel().tolist() == [1180, 2004]
    decimals = load(cells, "dataset.decimal=','").X.ravel()
    np.testing.assert_allclose(decimals, [1.18, 2.004], rtol=1e-6)
    dates = ["01/02/2024", "03/04/2024"]
    for dayfirst, expected in (("true", (2024, 2, 1)), ("false", (2024, 1, 2))):
        schema = load(dates, f"dataset.dayfirst={dayfirst}").schema
        encoded = schema.encode(pd.DataFrame({"a": dates[:1]})) + schema.offsets
        assert encoded.item() == np.float32(seconds(*expected))


@pytest.mark.parametrize(
    "cells", [["Q1", "Q2"], ["1a", "2b"], ["10-20", "20-30"], ["1 Main St", "2 Oak St"],
              ["10.0.0.1", "10.0.0.2"], ["A4", "A5"], ["2A", "3A"]],
)  # fmt: skip
def test_codes_stay_categories(load, cells):
    dataset = load(cells)
    assert dataset.categories == (tuple(cells),)
    assert dataset.notes == ()


def test_a_european_file(tmp_path, make_config):
    path = tmp_path / "t.csv"
    path.write_text("x;n;l\n0,5;1.180;1\n1,5;2.004;0\n")
    config = make_config("dataset=table", f"dataset.path='{path}'", "dataset.labels=[l]").dataset
    dataset = loading.load(config)
    assert dataset.X.tolist() == [[0.5, 1180], [1.5, 2004]]
    assert [note for note in dataset.notes if "';'" in note]
    assert [note for note in dataset.notes if "dataset.decimal=','" in note]
    assert dataset.schema.decimal == ","
    path.write_text("a;b;l\n1.5;x,y;1\n2.5;z;0\n")
    assert loading.load(config).X[:, 0].tolist() == [1.5, 2.5]


def test_test_rows_are_read_as_the_training_rows(tmp_path, make_config):
    (tmp_path / "a.csv").write_text('d,n,l\n13/02/2024,"1,180.5",1\n01/02/2024,3,0\n')
    (tmp_path / "b.csv").write_text('d,n,l\n01/02/2024,"2,004",1\n')
    config = make_config(
        *("dataset=table", f"dataset.path='{tmp_path}/a.csv'", "dataset.labels=[l]"),
        f"dataset.test_path='{tmp_path}/b.csv'",
    ).dataset
    dataset = loading.load(config)
    numbers = dataset.X + dataset.schema.offsets
    assert numbers[:, 1].tolist() == [1180.5, 3, 2004]
    assert numbers[1, 0] == numbers[2, 0]
    (tmp_path / "b.csv").write_text("d,n,l\n02/13/2024,5,1\n")
    with pytest.raises(UserError, match=r"dates such as 31/12/2026 .*'02/13/2024' in row 0"):
        loading.load(config)


SERVED = TableSchema(
    (Column("p", format="$1,234.5"), Column("d", "datetime", format="31/12/2026")), ("NA",)
)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("p", "12.5", "numbers such as $1,234.5"), ("p", "€5", "numbers"), ("p", "$1,20", "numbers"),
     ("d", "12/31/2026", "dates such as 31/12/2026"), ("d", "soon", "dates")],
)  # fmt: skip
def test_a_served_value_in_another_format_is_refused(name, value, expected):
    rows = {"p": ["$1,200", "NA"], "d": ["31/12/2026", None]}
    assert np.isnan(SERVED.encode(pd.DataFrame(rows))[1]).all()
    rows[name][1] = value
    with pytest.raises(ValueError, match=f"^Expected {expected.replace('$', '[$]')}") as caught:
        SERVED.encode(pd.DataFrame(rows))
    assert f"in column {name!r}. Received: {value!r} in row 1" in str(caught.value)


@given(
    st.decimals(-(10**9), 10**9, places=2),
    st.sampled_from(["", ",", ".", " ", "'", "_"]),
    st.sampled_from(".,"),
    st.sampled_from([("$", ""), ("", "%"), ("", " kg"), ("", "")]),
)
def test_a_written_number_is_read_back(number, thousands, decimal, unit):
    if thousands == decimal:
        decimal = "," if decimal == "." else "."
    text = f"{abs(number):,.2f}".translate({44: thousands, 46: decimal})
    text = f"{'-' * (number < 0)}{unit[0]}{text}{unit[1]}"
    form = number_format(*unit, thousands, decimal)
    assert parse_formatted(form, text) == pytest.approx(float(number), rel=1e-12)


@given(st.text("0123456789,.' -$%€kgeE()/:x", max_size=20), st.sampled_from(
    [*DATE_FORMATS, "$1,234.5", "1.234,5 kg", "1234.5"]
))  # fmt: skip
def test_any_text_is_read_or_none(text, form):
    value = parse_formatted(form, text)
    assert value is None or isinstance(value, float)
