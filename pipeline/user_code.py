"""Import the user's callables, and find the modules and packages that they need."""

import ast
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from importlib.util import find_spec, resolve_name
from pathlib import Path
from pkgutil import get_importer
from typing import Any

from pipeline.errors import UserError

_PACKAGE = Path(__file__).resolve().parent
_LIBRARIES = ("keras", "numpy", "sklearn", "tensorflow")  # modules of what Manyfold itself needs
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
_distributions = cache(packages_distributions)
_lent: dict[str, Callable[..., Any]] = {}  # by the path that a configuration names


LENT = "@"  # in the path of an object of a Python program, before a digest of it


@contextmanager
def lend(callables: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Let `import_callable` find objects of a Python program by made-up paths, during the block."""
    new = {path: callables[path] for path in callables if path not in _lent}
    _lent.update(new)
    try:
        yield
    finally:
        for path in new:
            del _lent[path]


def lent(paths: Sequence[str]) -> dict[str, Callable[..., Any]]:
    """Return those of the paths that are lent, for `lend` in another process."""
    return {path: _lent[path] for path in paths if path in _lent}


@dataclass(frozen=True)
class UserCode:
    """Code of the user, and installed packages other than those that Manyfold needs.

    Attributes:
        modules: File of each module by its dotted name.
        packages: Names of the installed distributions.
    """

    modules: dict[str, Path]
    packages: frozenset[str]


def import_callable(key: str, path: str) -> Callable[..., Any]:
    """Import a callable by its dotted path, such as `my_module.build`.

    Args:
        key: Configuration key of the path, for error messages.
        path: Module and attribute; the module may be in the working directory.

    Raises:
        UserError: If the module cannot be imported or the attribute is not a callable.
    """
    if path in _lent:
        return _lent[path]
    if LENT in path:
        raise UserError(
            f"{key}: expected an object of the program that was given it. Received: {path!r}, of "
            "another program. Give the object itself again, in Python."
        )
    _search_working_directory()
    module, _, name = path.rpartition(".")
    try:
        value = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{key}: expected the dotted path of a callable, module.name. Received: {path!r} "
            f"({error}). The module must be importable: in the working directory or installed."
        ) from error
    except Exception as error:  # raised by the user's module
        raise UserError(
            f"{key}: expected {path!r} to be importable. Received: {type(error).__name__}: {error}"
        ) from error
    if not callable(value):
        raise UserError(
            f"{key}: expected a callable. Received: {path!r}, a {type(value).__name__}."
        )
    return value  # type: ignore[no-any-return]


def find_user_code(callables: Sequence[str]) -> UserCode:
    """Find the modules that define callables, and all that these import, also indirectly.

    No code runs, so modules whose names are only known at run time are not found.

    Args:
        callables: Dotted paths of the user's callables.
    """
    _search_working_directory()
    waiting, seen = list(callables), set[str]()
    modules: dict[str, Path] = {}
    packages: set[str] = set()
    while waiting:
        parts = waiting.pop().split(".")
        for length in range(1, len(parts) + 1):  # a module's packages run before it
            name = ".".join(parts[:length])
            if name in seen or parts[0] in _LIBRARIES:
                continue
            seen.add(name)
            spec = _find_module(name)
            path = Path(spec.origin).resolve() if spec and spec.origin else None
            if spec is None or path is None or not path.is_file() or _PACKAGE in path.parents:
                continue
            if {"site-packages", "dist-packages"} & set(path.parts):
                distributions = _distributions().get(parts[0], [])
                packages.update(distributions)
                if distributions:
                    continue
            elif _STANDARD_LIBRARY in path.parents:
                continue
            modules[name] = path
            waiting += _imported_names(spec, path.read_bytes())
    return UserCode(modules, frozenset(packages))


def _search_working_directory() -> None:
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def _find_module(name: str) -> ModuleSpec | None:
    """Find a module without importing the packages that it is in."""
    prefix, *others = name.split(".")
    try:
        spec = find_spec(prefix)
    except ValueError:  # __main__, or an empty name
        return None
    for part in others:
        prefix += f".{part}"
        locations = (spec and spec.submodule_search_locations) or ()  # none of a class
        finders = filter(None, map(get_importer, locations))
        specs = (finder.find_spec(prefix) for finder in finders)
        spec = next(filter(None, specs), None)
    return spec


def _imported_names(spec: ModuleSpec, content: bytes) -> Iterator[str]:
    """Yield the dotted names that a module imports: modules, and names that may be modules."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # the import of the module will explain it
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            with suppress(ImportError):  # more dots than packages
                module = resolve_name("." * node.level + (node.module or ""), spec.parent or "")
                yield from (f"{module}.{name.name}" for name in node.names)
