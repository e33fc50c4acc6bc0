"""A user's own callable by dotted path: a model's builder, a source of data."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.errors import UserError


def import_callable(key: str, path: str) -> Callable[..., Any]:
    """Return the callable at a dotted path such as `my_module.build`.

    Args:
        key: The configuration key that names it, for the message.
        path: Module and attribute; the module may lie in the working directory.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{key}: expected the dotted path of a callable, module.name. Received: {path!r} "
            f"({error}). The module must be importable: in the working directory or installed."
        ) from error
    except Exception as error:  # whatever the user's module does when it is imported
        raise UserError(
            f"{key}: expected {path!r} to be importable. Received: {type(error).__name__}: {error}"
        ) from error
    if not callable(found):
        raise UserError(
            f"{key}: expected a callable. Received: {path!r}, a {type(found).__name__}."
        )
    return found  # type: ignore[no-any-return]
