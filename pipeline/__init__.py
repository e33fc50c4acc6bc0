"""Manyfold: how good is this model on my multi-label data, honestly?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.api.comparing import compare, load_model
    from pipeline.api.evaluating import evaluate, load_dataset, make_config
    from pipeline.api.result import Evaluation
    from pipeline.dataset import Dataset
    from pipeline.errors import UserError
    from pipeline.preprocessing import TableSchema

_MODULES = {
    "Dataset": "dataset",
    "Evaluation": "api.result",
    "TableSchema": "preprocessing",
    "UserError": "errors",
    "compare": "api.comparing",
    "evaluate": "api.evaluating",
    "load_dataset": "api.evaluating",
    "load_model": "api.comparing",
    "make_config": "api.evaluating",
}
__all__ = [
    "Dataset",
    "Evaluation",
    "TableSchema",
    "UserError",
    "compare",
    "evaluate",
    "load_dataset",
    "load_model",
    "make_config",
]


def __getattr__(name: str) -> Any:
    """Import a public name on its first use, so that `import pipeline` costs nothing."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.runtime import heavy_imports

    with heavy_imports():
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names too."""
    return sorted({*globals(), *__all__})
