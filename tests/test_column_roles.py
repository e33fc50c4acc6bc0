import pytest

from pipeline.dataset.column_roles import (
    check_column_exists,
    check_disjoint_roles,
    check_unique_columns,
    select_columns,
    without_dropped,
)
from pipeline.errors import UserError

NAMES = ["a", "tag_x", "tag_y", "x[1]", "Tag_z"]


@pytest.mark.parametrize(
    ("patterns", "selected"),
    [
        (["a"], ("a",)),
        (["tag_*"], ("tag_x", "tag_y")),
        (["tag_y", "tag_*"], ("tag_y", "tag_x")),
        (["x[1]"], ("x[1]",)),
        (["tag_[!x]"], ("tag_y",)),
        (["?"], ("a",)),
        ([], ()),
    ],
)
def test_names_and_patterns_select_columns(patterns, selected):
    assert select_columns("t.csv", "labels", patterns, NAMES) == selected


@pytest.mark.parametrize(
    ("pattern", "hint"), [("tag_z", "Did you mean 'tag_"), ("b*", "Available: Tag_z, a, tag_x")]
)
def test_a_pattern_without_columns_is_an_error(pattern, hint):
    with pytest.raises(UserError) as caught:
        select_columns("t.csv", "labels", ["a", pattern], NAMES)
    assert f"exist in dataset.labels. Received: {pattern!r}. {hint}" in str(caught.value)


def test_a_long_list_of_names_is_cut():
    with pytest.raises(UserError, match=r"n38, n39 and 60 more\.$"):
        check_column_exists("t.csv", "group", "g", [f"n{i:02}" for i in range(100)])


def test_duplicates_and_overlaps_are_errors():
    check_unique_columns("t.csv", NAMES)
    with pytest.raises(UserError, match=r"'a' as the name of columns 0, 2"):
        check_unique_columns("t.csv", ["a", "b", "a"])
    check_disjoint_roles("t.csv", {"labels": ["a"], "drop": ["b"]})
    with pytest.raises(UserError, match=r"'a' in both dataset.labels and dataset.drop"):
        check_disjoint_roles("t.csv", {"labels": ["a"], "drop": ["b", "a"]})


def test_a_pattern_of_labels_leaves_out_dropped_columns():
    labels = ("tag_x", "tag_y")
    assert without_dropped(labels, ["tag_*"], ["tag_y", "a"]) == ("tag_x",)
    assert without_dropped(labels, ["tag_*", "tag_y"], ["tag_y"]) == labels  # two roles: refused
