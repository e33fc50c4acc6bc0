import numpy as np
import pytest

from pipeline.dataset import load
from pipeline.dataset.label_columns import codes_to_binary, to_binary
from pipeline.dataset.label_values import LabelValues
from pipeline.errors import UserError

YES = ["1", "1.0", "true", "T", "Yes", "Y", "TRUE", b"1", b"true", 1, 1.0, True, np.float32(1)]
NO = ["0", "0.0", "false", "F", "No", "n", "FALSE", b"0", b"f", 0, 0.0, False, np.int8(0)]


@pytest.mark.parametrize(("yes", "no"), list(zip(YES, NO, strict=True)))
def test_every_spelling_of_yes_and_no(yes, no):
    values = np.array([yes, no, yes], dtype=object)
    assert to_binary("s", "l", values).tolist() == [1, 0, 1]
    assert codes_to_binary("s", "l", np.array([0, 1, 0]), [yes, no]).tolist() == [1, 0, 1]


@pytest.mark.parametrize("dtype", [bool, int, np.uint8, np.float32, "U5", "S5", object])
def test_every_dtype(dtype):
    y = to_binary("s", "l", np.array([1, 0, 0, 1]).astype(dtype))
    assert y.tolist() == [1, 0, 0, 1]
    assert y.dtype == np.int8


@pytest.mark.parametrize("value", ["2", "ja", "", "01", 2, -1, 0.5, "TRUE?", b"x", "nan"])
def test_other_values_are_errors_that_name_label_value_and_row(value):
    text = value.decode() if isinstance(value, bytes) else value
    for received in (value, text):
        with pytest.raises(UserError, match=r"s: expected labels of value 0 or 1") as caught:
            to_binary("s", "l", np.array([1, 0, received], dtype=object))
        where = f"{str(received)!r} in label 'l', row 2 (the first is 0)."
        assert where in str(caught.value)
        assert "_values=" in str(caught.value)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_label_is_an_error(missing):
    with pytest.raises(UserError, match=r"a missing value in label 'l', row 1"):
        to_binary("s", "l", np.array([1, missing], dtype=object))
    with pytest.raises(UserError, match=r"a missing value in label 'l', row 1"):
        to_binary("s", "l", np.array([1, np.nan]))
    with pytest.raises(UserError, match=r"a missing value in label 'l', row 1"):
        codes_to_binary("s", "l", np.array([0, -1]), ["yes"])


def test_values_that_no_row_has_may_be_anything():
    assert codes_to_binary("s", "l", np.array([0, 1]), ["no", "yes", "other"]).tolist() == [0, 1]


def test_listed_labels_can_be_dropped(tmp_path, make_config):
    (tmp_path / "t.csv").write_text("a,b,tags\n1,2,x|rare\n2,3,x|y\n3,4,y|odd\n")
    settings = (
        "dataset=table",
        f"dataset.path='{tmp_path}/t.csv'",
        "dataset.label_list_column=tags",
    )
    dataset = load(make_config(*settings, "dataset.drop=[b,rare,o*]").dataset)
    assert dataset.label_names == ("x", "y")
    assert dataset.feature_names == ("a",)
    assert dataset.y.tolist() == [[1, 0], [1, 1], [0, 1]]
    with pytest.raises(
        UserError, match=r"in dataset\.drop\. Received: 'rara'\. Did you mean 'rare'"
    ):
        load(make_config(*settings, "dataset.drop=[rara]").dataset)
    (tmp_path / "u.csv").write_text("a,b,tags\n1,2,x\n")
    pair = load(
        make_config(
            *settings, "dataset.drop=[rare]", f"dataset.test_path='{tmp_path}/u.csv'"
        ).dataset
    )
    assert pair.label_names == ("odd", "x", "y")


CONVENTIONS = {
    # name: values, yes/no by row, true_values, false_values
    "-1 and 1": ([-1, 1, -1, 1], [0, 1, 0, 1], (1,), (-1,)),
    "1 and blank": ([None, 1.0, np.nan, 1.0], [0, 1, 0, 1], (1,), ("",)),
    "x and blank": (["x", "", "X", None], [1, 0, 1, 0], ("x",), ("",)),
    "neg and pos": (["neg", "pos", " NEG", "pos"], [0, 1, 0, 1], ("pos",), ("neg",)),
    "present and absent": (["absent", "present"] * 2, [0, 1, 0, 1], ("present",), ("absent",)),
    "1 yes and 2 no": ([1, 2, 2, 1], [1, 0, 0, 1], (1,), (2,)),
    "counts": ([0, 1, 2, 57], [0, 1, 1, 1], (">0",), ()),
    "counts as texts": (["0", "1", "2.0", "57"], [0, 1, 1, 1], (">0",), ()),
    "listed counts": ([0, 1, 2, 2], [0, 1, 1, 1], ("1", 2), ()),
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_configured_values_mean_yes_and_no(name):
    values, expected, true, false = CONVENTIONS[name]
    label_values = LabelValues(true, false)
    array = np.array(values, dtype=object)
    assert to_binary("s", "l", array, label_values).tolist() == expected
    if all(isinstance(value, int | float) for value in values):
        assert to_binary("s", "l", np.array(values), label_values).tolist() == expected
    distinct = list(dict.fromkeys(values))
    codes = np.array([distinct.index(value) for value in values])
    assert codes_to_binary("s", "l", codes, distinct, label_values).tolist() == expected


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ([-1, 1], ['true_values=["1"]', 'false_values=["-1"]', "'-1', '1'"]),
        (["x", None], ["true_values=[x]", 'false_values=[""]', "and blank no", "blank, 'x'"]),
        ([None, 1.0], ['true_values=["1"]', 'false_values=[""]']),
        (["nein", "ja"], ["'ja' means yes and 'nein' no", "true_values=[ja]"]),
        (["yes?", "maybe"], ["or the other way round"]),
        (["m", "no"], ["true_values=[m]", "false_values=[no]'."]),
        ([0, None], ["Fill in the missing values"]),
        ([1, 2], ['true_values=["1"]', 'false_values=["2"]', "other way"]),
        ([0, 1, None], ["if a blank means no, give 'dataset.false_values=[\"\"]'."]),
        ([0, 1, -1], ['true_values=["-1"]\' with those that mean yes', 'false_values=["-1"]']),
        ([0.9, 0.1, 0.7], ['true_values=[">0.5"]', 'false_values=["<=0.5"]']),
        (["b'1'", "b'0'"], ["b'\"'\"'1'"]),
        (["neg", "pos"], ["true_values=[pos]", "false_values=[neg]"]),
        (["absent", "present"], ["true_values=[present]", "false_values=[absent]"]),
        ([0, 1, 2], ['true_values=[">0"]', "'0', '1', '2'"]),
        (["low", "mid", "high"], ["dataset.true_values", "false_values", "'high', 'low', 'mid'"]),
    ],
)
def test_the_error_names_the_values_and_what_to_type(values, parts):
    with pytest.raises(UserError) as caught:
        to_binary("s", "l", np.array(values, dtype=object))
    for part in parts:
        assert part in str(caught.value)


def test_a_value_that_means_yes_and_no_is_an_error():
    with pytest.raises(UserError, match=r"'1' in both"):
        LabelValues((1, 2), ("1.0",))
