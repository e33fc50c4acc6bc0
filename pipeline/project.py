"""Where Manyfold finds its configuration and leaves its results."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent if (_PACKAGE.parent / "conf" / "config.yaml").is_file() else None

CONF_DIR = (_CHECKOUT or _PACKAGE) / "conf"


def mlruns() -> Path:
    """Return the folder of results: the checkout's, or one in the working directory."""
    return (_CHECKOUT or Path.cwd()) / "mlruns"
