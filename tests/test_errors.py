"""UserError is a ValueError, and no handler of wider errors catches it by accident."""

import ast
import math
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import UserError, shorten, suggest

PIPELINE = Path(__file__).parents[1] / "pipeline"
TREES = {
    path.relative_to(PIPELINE).as_posix(): ast.parse(path.read_text())
    for path in sorted(PIPELINE.rglob("*.py"))
}
METHODS_OF_PYTHON = {name for kind in (str, bytes, dict, list, set, Path) for name in dir(kind)}
WIDE = {"ValueError", "Exception", "BaseException"}
INTENDED = {
    # `model.save` is Keras' method.
    ("model/keras_builder.py", "check_model"),
    # Own models raise anything; training rows are tried first, and must not fail.
    ("model/keras_builder.py", "_probe"),
    # A leaderboard is logged without its estimate too.
    ("comparison/best_job.py", "estimate_best_job"),
    ("comparison/nested.py", "score_nested"),
    # Few rows may be too few to fit; errors that do not depend on the rows were raised before.
    ("model/saved_model.py", "check_savable"),
    # The model and the schema that models carry raise ValueError: they know no UserError.
    ("api/comparing.py", "call"),
    ("dataset/schema_inference.py", "_add_offset"),
    ("prediction/file_prediction.py", "_bad_column"),
    ("tracking/model_server.py", "predict"),
    ("tracking/pyfunc_model.py", "predict"),
    # The user's own function, network, builder and initializers raise anything.
    ("training/initial_weights.py", "_traced"),
    ("model/given_model.py", "convert_model"),
    ("model/given_model.py", "_clone_keras"),
    ("model/keras_builder.py", "call_builder"),
    # A line that cannot be read is a bad row, with the reader's message.
    ("prediction/line_files.py", "_parse_good"),
    # Whatever is wrong with the store at the end of a sweep, its run gets a status.
    ("sweeps/parent_run.py", "end"),
}


def names_of(types: ast.expr | None) -> set[str]:
    """Return the names of the classes that an `except` clause catches."""
    nodes = types.elts if isinstance(types, ast.Tuple) else [types]
    return {ast.unparse(node).rpartition(".")[2] if node else "BaseException" for node in nodes}


def external_names(tree: ast.Module) -> set[str]:
    """Return the names that a module imports from outside of pipeline."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            own = module.partition(".")[0] == "pipeline"
            names |= {
                (alias.asname or alias.name).partition(".")[0]
                for alias in node.names
                if not own and not alias.name.startswith("pipeline")
            }
    return names


def called_names(nodes: list[ast.stmt], external: set[str]) -> Iterator[str]:
    """Yield the names of the functions and methods of pipeline that some code may call."""
    for call in (node for statement in nodes for node in ast.walk(statement)):
        if not isinstance(call, ast.Call):
            continue
        if isinstance(call.func, ast.Attribute) and call.func.attr in METHODS_OF_PYTHON:
            continue
        root = call.func
        while isinstance(root, ast.Attribute | ast.Call | ast.Subscript):
            root = root.func if isinstance(root, ast.Call) else root.value
        if not (isinstance(root, ast.Name) and root.id in external):
            yield ast.unparse(call.func).rpartition(".")[2]


def raising_functions() -> set[str]:
    """Return the names of functions that can raise UserError, directly or through others."""
    calls = {}
    for tree in TREES.values():
        external = external_names(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                calls.setdefault(node.name, set()).update(called_names(node.body, external))
    raising = {"UserError"}
    while more := {name for name, called in calls.items() if called & raising} - raising:
        raising |= more
    return raising - {"UserError"}


def accidents() -> Iterator[tuple[str, str, set[str]]]:
    """Yield file, function and calls of each handler that can catch UserError by accident."""
    raising = raising_functions()
    for name, tree in TREES.items():
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Try):
                continue
            for handler in node.handlers:
                caught = names_of(handler.type)
                if "UserError" in caught:
                    break  # the handlers after it never see a UserError
                last = handler.body[-1]
                raises_again = isinstance(last, ast.Raise) and last.exc is None
                calls = set(called_names(node.body, external_names(tree))) & raising
                if caught & WIDE and calls and not raises_again:
                    inside = [
                        function.name for function in functions if node in set(ast.walk(function))
                    ]
                    yield name, inside[-1] if inside else "", calls


def test_no_wider_handler_catches_a_user_error_by_accident():
    found = [(name, *more) for name, *more in accidents() if (name, more[0]) not in INTENDED]
    assert found == []


def test_the_search_for_such_handlers_finds_them(monkeypatch):
    text = (
        "import json\n"
        "def check(): raise UserError('no')\n"
        "def outer(): check()\n"
        "def bad():\n    try: outer()\n    except ValueError: pass\n"
        "def good():\n    try: json.loads('')\n    except ValueError: pass\n"
        "def passed():\n    try: outer()\n    except UserError: raise\n    except Exception: pass\n"
    )
    monkeypatch.setitem(TREES, "made_up.py", ast.parse(text))
    assert ("made_up.py", "bad", {"outer"}) in list(accidents())
    assert [function for name, function, _ in accidents() if name == "made_up.py"] == ["bad"]


def test_a_user_error_is_a_value_error_and_can_be_pickled():
    error = pickle.loads(pickle.dumps(UserError("cv: too few rows")))
    assert isinstance(error, ValueError)
    assert str(error) == "cv: too few rows"


def test_a_hint_names_the_most_similar_name_and_at_most_40():
    assert suggest("acuracy", ["loss", "accuracy"]) == (
        "Did you mean 'accuracy'? Available: accuracy, loss."
    )
    assert suggest("x", []) == "Available: (none)."
    assert suggest("", (f"n{i:02}" for i in range(42))).endswith("n39 and 2 more.")


@pytest.mark.parametrize("length", [5, 6, 9, 10, math.inf])
def test_a_shortened_name_keeps_its_ends(length):
    shortened = shorten("abcdefghij", length)
    assert len(shortened) == min(10, length)
    assert (shortened[0], shortened[-1]) == ("a", "j")
