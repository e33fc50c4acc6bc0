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
from pipeline.preprocessing.column import Column
from pipeline.preprocessing.table_schema import TableSchema
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
    "percent, said": (["12%"], [12], "1234.5% (12% is 12)"),
    "ISO dates": (["2024-03-01", "2024-12-31", None], [seconds(2024, 3, 1), seconds(2024, 12, 31),
        np.nan], "2026-01-31"),
    "ISO dates and times": (["2024-03-01 10:30", "2024-12-31T00:00:01.5"],
        [seconds(2024, 3, 1, 10, 30), seconds(2024, 12, 31, 0, 0, 1) + 0.5], "seconds since 1970"),
    "ISO with time zones": (["2024-03-01T10:30:00+02:00", "2024-12-31T00:00:00Z"],
        [seconds(2024, 3, 1, 8, 30), seconds(2024, 12, 31)], "2026-01-31"),
    "ISO, some dates only": ([" 2024-03-01", "2024-03-02 12:00:00"], [seconds(2024, 3, 1),
        seconds(2024, 3, 2, 12)], "2026-01-31"),
    "ISO weeks": (["2024-W03", "2024-W04"], [seconds(2024, 1, 15), seconds(2024, 1, 22)], "2026-0"),
    "months of years": (["2024-03", "2024-12"], [seconds(2024, 3, 1), seconds(2024, 12, 1)],
        "2026-12"),
    "quarters": (["Q1 2024", "2024Q4"], [seconds(2024, 1, 1), seconds(2024, 10, 1)], "Q4 2026"),
    "time zones behind": (["31/12/2024 10:00 UTC", "01/12/2024 10:00 +0100"],
        [seconds(2024, 12, 31, 10), seconds(2024, 12, 1, 9)], "31/12/2026"),
    "short years": (["01-Mar-24", "2-APR-99"], [seconds(2024, 3, 1), seconds(1999, 4, 2)],
        "31 Dec 2026"),
    "weekdays": (["Fri, 01 Mar 2024 10:00:00 GMT", "Saturday, March 2nd, 2024"],
        [seconds(2024, 3, 1, 10), seconds(2024, 3, 2)], "31 Dec 2026"),
    "ctime": (["Fri Mar  1 10:00:07 2024", "Sat Mar 2 11:00:00 2024"],
        [seconds(2024, 3, 1, 10, 0, 7), seconds(2024, 3, 2, 11)], "31 Dec 2026"),
    "times": (["01:30", "9:45"], [5400, 35100], "12:30:00, in seconds since midnight"),
    "times of half days": (["01:30 PM", "9:45:05 am", "12:00 AM"], [48600, 35105, 0], "12:30:00"),
    "durations": (["01:30:00", "25:45:00", "1 day, 2:03:04"], [5400, 92700, 93784], "1 days"),
    "ISO durations": (["P1DT2H", "PT5M"], [93600, 300], "1 days"),
    "hours and minutes": (["1h 30m", "2h", "45 min"], [5400, 7200, 2700], "1 days"),
    "names of months": (["11 Mar 2024", "March 3, 2024 2:05 PM"], [seconds(2024, 3, 11),
        seconds(2024, 3, 3, 14, 5)], "31 Dec 2026"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_recognised_and_served(name, load):
    cells, expected, part = FORMATS[name]
    dataset = load(cells)
    numbers = dataset.X[:, 0] + dataset.schema.offsets[0]
    np.testing.assert_allclose(numbers, expected, rtol=1e-7)
    assert "'a' read as " in dataset.notes[0]
    assert "'dataset.categorical=[a]' makes them categories" in dataset.notes[0]
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
        (["3 kg", "500 g"], ["'3 kg' in row 0", "the same unit", "drop=[a]"]),
        (["$5", "€6"], ["'$5' in row 0", "dataset.categorical"]),
        (["$5", "$6", "five"], ["'five' in row 2"]),
        (["12%", "0.15", "9%"], ["'0.15' in row 1"]),
        (["1.2M", "300k"], ["'1.2M' in row 0"]),
        (["31/12/2024", "12/31/2024"], ["'31/12/2024' in row 0", "2026-01-31"]),
        (["2024-03-01", "2024-13-02", "2024-05-03"], ["dates", "'2024-13-02' in row 1"]),
        (["2024-03-01", "2024-05-03", "unknown"], ["'unknown' in row 2", 'na_values=["",NA,N/A,']),
        (
            ["24/03/01", "24/04/15"],
            ["dataset.dayfirst=true", "may be the year, such as '24/03/01'"],
        ),
        (["Mar-24", "Apr-24"], ["expected dates", "'Mar-24' in row 0", "2026-01-31"]),
        (["1. März 2024", "2. Mai 2024"], ["expected dates", "'dataset.categorical=[a]'"]),
        (["<5", "7", ">10"], ["'<5' in row 0", "'dataset.categorical=[a]'", "drop=[a]"]),
        (["0", "1", "3+"], ["'3+' in row 2", "'dataset.categorical=[a]'"]),
        (["1 1/2", "3/4", "2"], ["'1 1/2' in row 0"]),
        (["5", "-", "7"], ["'-' in row 1", '"?","-"]', "means a missing value"]),
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


@pytest.mark.parametrize("cells", [
    ["<5", ">10", "≤3"], ["<18", "18-25", ">65"], ["1/2", "3/4"], ["1:2", "3:4"], ["~5", "~7"],
    ["120/80", "110/70"], ["[1, 2]", "[3, 4]"], ["5'11\"", "6'0\""], ['="5"', '="6"'],
    ["52°31'N", "48°8'N"], ["10²", "10³"], ["2x", "3x"],
])  # fmt: skip
def test_other_numbers_are_categories_with_a_warning(load, cells):
    dataset = load(cells)
    assert dataset.categories == (tuple(sorted(cells)),)
    (warning,) = [it for it in dataset.warnings if "numbers in texts" in it]
    assert "feature 'a'" in warning
    assert "'dataset.categorical=[a]'" in warning
    assert not [it for it in load(cells, "dataset.categorical=[a]").warnings if "texts" in it]


def test_numbers_in_texts_of_typed_files_are_named(tmp_path, make_config):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"a": ["8", "9"], "b": ["8", "9"], "l": [0, 1]}).astype({"b": "category"})
    frame.to_parquet(path)
    settings = ("dataset=table", "dataset.labels=[l]", f"dataset.path='{path}'")
    (warning,) = loading.load(make_config(*settings).dataset).warnings
    assert "feature 'a'" in warning
    assert "'dataset.numeric=[a]'" in warning
    dataset = loading.load(make_config(*settings, "dataset.numeric=[a]").dataset)
    assert dataset.X[0, 0] + dataset.schema.offsets[0] == 8


def test_whole_numbers_that_are_dates_are_named(load):
    warnings = load(["20240301", "20241231", "20250101"]).warnings
    assert "feature 'a' has dates as numbers, such as 20240301" in " ".join(warnings)
    assert not [it for it in load(["20240301", "20241331"]).warnings if "dates" in it]


def test_hexadecimal_numbers_are_served_as_they_are_read(load):
    dataset = load(["0x1F", "0xA0"])
    rows = pd.DataFrame({"a": ["0x1F", "0xA0"]})
    np.testing.assert_array_equal(dataset.schema.encode(rows), dataset.X)


def test_all_formats_of_files_give_the_same_dates(tmp_path, make_config):
    cells = ["2024-03-01T10:30:00", "2024-12-31T00:00:01"]
    frame = pd.DataFrame({"a": cells, "l": [0, 1]})
    typed = frame.assign(a=pd.to_datetime(frame["a"]))
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "texts.parquet")
    typed.to_parquet(tmp_path / "t.parquet")
    typed.to_feather(tmp_path / "t.feather")
    typed.to_excel(tmp_path / "t.xlsx", index=False)
    settings = ("dataset=table", "dataset.labels=[l]")
    for path in sorted(tmp_path.glob("*.*")):
        dataset = loading.load(make_config(*settings, f"dataset.path='{path}'").dataset)
        assert dataset.schema.columns[0].kind == "datetime", path.name
        assert (dataset.X + dataset.schema.offsets).tolist()[0] == [seconds(2024, 3, 1, 10, 30)]
        assert "'a' read as dates" in dataset.notes[0]


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
