"""Rounding of scores: nothing that is not zero is shown as zero, and ordinary scores stay short."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scoring.statistics import (
    DECIMALS,
    MetricSummary,
    choose_decimals,
    common_decimals,
    format_number,
    format_summary,
    summarise,
)

SCORES = st.floats(-1e4, 1e4).filter(lambda value: value == 0 or abs(value) > 1e-12)
DEVIATIONS = st.floats(1e-7, 10)


@given(score=SCORES, std=DEVIATIONS)
def test_a_deviation_has_two_significant_digits_and_three_decimals(score, std):
    decimals = choose_decimals(score, std)
    assert decimals >= DECIMALS
    text = format_number(std, decimals)
    assert float(text) == pytest.approx(std, rel=0.05)
    assert len(text.replace(".", "").lstrip("0")) >= 2
    # Not more decimals than needed: with one less, a digit of the deviation or a decimal is lost.
    assert decimals == DECIMALS or std < 10 ** (1 - decimals + 1)
    assert float(format_number(score, decimals)) == pytest.approx(score, abs=0.51 * 10**-decimals)


@given(SCORES)
def test_a_number_alone_keeps_two_significant_digits(value):
    assert float(format_number(value)) == pytest.approx(value, rel=0.05)


@given(st.lists(st.tuples(SCORES, st.none() | DEVIATIONS), min_size=1))
def test_a_column_has_the_decimals_of_the_row_that_needs_most(rows):
    assert common_decimals(rows) == max(choose_decimals(*row) for row in rows)


@pytest.mark.parametrize(
    ("values", "mean", "std"),
    [
        ([0.766, 0.84], "0.803", "0.037"),
        ([0.0011, 0.0013], "0.00120", "0.00010"),
        ([0.8, 0.8], "0.800", "0.000"),
        ([0.1 + 0.2, 0.3], "0.300", "0.000"),  # they differ by rounding
        ([0.0, 0.0], "0.000", "0.000"),
        ([math.nan, math.nan], "undefined", ""),
        ([0.0012], "0.0012", ""),
        ([250.0, 350.0], "300.000", "50.000"),
        ([1e-13, 3e-13], "2.0e-13", "1.0e-13"),
    ],
)
def test_summaries(values, mean, std):
    formatted = format_summary(summarise(values, 0.1))
    assert (formatted.mean, formatted.std) == (mean, std)
    assert formatted.headline == (f"{mean} ({std})" if std else mean)
    assert bool(formatted.interval) == (len(values) > 1 and mean != "undefined")


def test_an_interval_has_the_decimals_of_the_mean():
    summary = MetricSummary(0.00123, 0.0001, (-0.00001, 0.002), 5)
    assert format_summary(summary).interval == "-0.00001 to 0.00200"


def test_numbers_that_are_none():
    assert [format_number(value) for value in (None, math.nan, -1e-17)] == [
        *("", "undefined", "-1.0e-17"),
    ]
    assert format_number(-1e-17, 3) == "0.000"
    assert common_decimals([(None, None)]) == DECIMALS
