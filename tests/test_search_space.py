"""Search spaces from Hydra's sweep syntax, and objectives."""

import math

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.scoring.statistics import MetricSummary, summarise
from pipeline.sweeps.search_space import (
    Choice,
    Interval,
    make_objectives,
    make_parameter,
    split_overrides,
)

PARSER = OverridesParser.create()


def parse(text: str, current_value: object = None) -> Interval | Choice:
    (override,) = PARSER.parse_overrides([f"key={text}"])
    return make_parameter(override, current_value)


PARAMETERS = [
    ("interval(0,0.5)", 0.0, Interval(0.0, 0.5)),
    ("interval(0,1)", 0.0, Interval(0.0, 1.0)),
    ("tag(log,interval(1e-4,1e-1))", 0.001, Interval(1e-4, 0.1, log=True)),
    ("interval(16,128)", 32, Interval(16, 128, integer=True)),
    ("int(interval(16,128))", None, Interval(16, 128, integer=True)),
    ("tag(log,int(interval(1,100)))", None, Interval(1, 100, integer=True, log=True)),
    ("interval(16,128)", None, Interval(16.0, 128.0)),
    ("range(16,129,16)", 32, Interval(16, 128, integer=True, step=16)),
    ("range(3)", 1, Interval(0, 2, integer=True, step=1)),
    ("range(10,0,-4)", 1, Interval(2, 10, integer=True, step=4)),
    ("range(0,0.3,0.1)", 0.0, Interval(0.0, 0.2, step=0.1)),
    ("range(0,0.9,0.3)", 0.0, Interval(0.0, 0.6, step=0.3)),
    ("shuffle(range(3))", 1, Interval(0, 2, integer=True, step=1)),
    ("choice([20],[64,32])", [20], Choice(("[20]", "[64,32]"))),
    ("[20],[64,32]", [20], Choice(("[20]", "[64,32]"))),
    ("relu,gelu", "relu", Choice(("relu", "gelu"))),
    ("choice(true,1.5,{a:1})", None, Choice(("True", "1.5", "{a:1}"))),
]


@pytest.mark.parametrize(
    ("text", "current_value", "expected"),
    PARAMETERS,
    ids=[parameter[0] for parameter in PARAMETERS],
)
def test_hydras_sweep_syntax_makes_parameters(text, current_value, expected):
    assert parse(text, current_value) == expected


INVALID = {
    "interval(1,1)": "expected interval(low,high)",
    "interval(2,1)": "expected interval(low,high)",
    "tag(log,interval(0,1))": "a log scale needs bounds above 0",
    "tag(lin,interval(1,2))": "expected the tag 'log' or none",
    "tag(log,choice(1,2))": "only interval() can have a tag",
    "range(3,3)": "with at least one value",
    "range(3,0)": "with at least one value",
    "choice(a,a)": "expected different options",
}


@pytest.mark.parametrize("text", INVALID)
def test_a_parameter_without_values_is_rejected(text):
    with pytest.raises(UserError, match=r"^key: ") as error:
        parse(text)
    assert INVALID[text] in str(error.value)


def test_an_interval_of_an_integer_setting_has_integer_bounds():
    with pytest.raises(UserError, match="key: expected integer bounds"):
        parse("interval(16.5,128)", current_value=32)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-9, 9))
def test_a_range_of_integers_has_the_values_of_pythons_range(start, stop, step):
    text = f"range({start},{stop},{step})"
    values = sorted(range(start, stop, step)) if step else []
    if values:
        parameter = parse(text)
        assert list(range(parameter.low, parameter.high + 1, parameter.step)) == values
    else:
        with pytest.raises((UserError, HydraException)):
            parse(text)


finite = st.floats(-1e6, 1e6)


@given(finite, finite, st.floats(0, 1))
def test_formatted_values_stay_within_the_bounds(first, second, fraction):
    low, high = sorted((first, second))
    if low < high:
        value = low + fraction * (high - low)
        text = Interval(low, high).format_value(min(value, high))
        (override,) = PARSER.parse_overrides([f"key={text}"])
        assert low <= override.value() <= high
        assert override.value() == pytest.approx(value, rel=1e-5)


@given(st.integers(-1000, 1000), st.integers(1, 400), st.integers(1, 30), st.integers(1, 3))
def test_steps_are_formatted_without_float_rounding_errors(start, step, n, digits):
    unit = 10**-digits
    low, high = round(start * unit, digits), round((start + step * n) * unit, digits)
    parameter = Interval(low, high, step=round(step * unit, digits))
    for index in range(n + 1):
        text = parameter.format_value(parameter.low + index * parameter.step)
        assert float(text) == round((start + step * index) * unit, digits)


def test_the_last_override_of_a_key_counts():
    arguments = ["a=1,2", "b=interval(0,1)", "seed=3", "a=5", "~experiment"]
    searched, fixed = split_overrides(PARSER.parse_overrides(arguments))
    assert list(searched) == ["b"]
    assert fixed == ("seed=3", "a=5", "~experiment")


def test_objectives_take_their_values_from_the_summary():
    summary = {name: summarise([0.1, 0.2, 0.4], 0.5) for name in ("accuracy", "hamming_loss")}
    scored = ("accuracy", "hamming_loss", "my.own")

    def values(*arguments):
        made = make_objectives(*arguments, scored, {"own": False})
        return {o.name: (o.direction, o.value(summary)) for o in made}

    low, high = summary["accuracy"].ci
    mean = pytest.approx(0.7 / 3)
    assert values(None, None, "mean") == {"accuracy_mean": ("maximize", mean)}
    assert values(["accuracy", "hamming_loss"], None, "ci_low") == {
        "accuracy_ci_low": ("maximize", low),
        "hamming_loss_ci_high": ("minimize", high),
    }
    for directions, greater, expected in (
        (["minimize"], {}, "minimize"),
        (None, {"own": False}, "minimize"),
        (None, {"own": True}, "maximize"),
    ):
        (own,) = make_objectives(["own"], directions, "mean", scored, greater)
        assert (own.metric, own.direction) == ("own", expected)
    (alone,) = make_objectives(None, None, "ci_low", scored, {})
    assert alone.value({"accuracy": MetricSummary(0.5, 0.0, None, 1)}) is None
    assert alone.value({"accuracy": MetricSummary(math.nan, math.nan, None, 0)}) is None


@pytest.mark.parametrize(
    ("metrics", "directions", "message"),
    [
        (["f1_micro"], None, "'f1_micro' is not in scoring.metrics"),
        (["accuracy", "accuracy"], None, "expected different names"),
        (["accuracy"], ["maximize", "minimize"], "expected one for each of accuracy"),
    ],
)
def test_objectives_that_jobs_do_not_compute_are_rejected(metrics, directions, message):
    with pytest.raises(UserError) as error:
        make_objectives(metrics, directions, "mean", ("accuracy", "hamming_loss"), {})
    assert message in str(error.value)
