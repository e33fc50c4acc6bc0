"""Import of user callables by dotted paths."""

import os
import subprocess
import sys

import pytest

from pipeline.errors import UserError
from pipeline.runtime import import_callable


def test_a_callable_is_imported_by_its_dotted_path():
    assert import_callable("model.builder", "os.path.join") is os.path.join


@pytest.mark.parametrize("path", ["no_such_module.build", "os.no_such", "os", ".build", ""])
def test_a_path_that_does_not_exist_is_rejected(path):
    with pytest.raises(UserError, match=r"^model.builder: expected the dotted path"):
        import_callable("model.builder", path)


def test_an_object_that_is_not_callable_is_rejected():
    with pytest.raises(UserError, match=r"^k: expected a callable. Received: 'os.sep', a str\.$"):
        import_callable("k", "os.sep")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1 +", "SyntaxError: invalid syntax"), ("nothing", "NameError: name 'nothing' is not")],
)
def test_a_module_that_fails_at_import_is_rejected(tmp_path, monkeypatch, text, expected):
    (tmp_path / f"broken_{len(text)}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=rf"^k: expected .* to be importable. Received: {expected}"):
        import_callable("k", f"broken_{len(text)}.build")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("pipeline.runtime", "keras"), ("pipeline.dataset.loading", "pyarrow")],
)
def test_the_module_does_not_import_heavy_libraries(module, heavy):
    program = f"import sys, {module}; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
