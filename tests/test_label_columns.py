import numpy as np
import pytest

from pipeline.dataset.label_columns import codes_to_binary, to_binary
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
        assert str(caught.value).endswith(
            f"{str(received)!r} in label 'l', row 2 (the first is 0)."
        )


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
