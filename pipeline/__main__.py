"""Entry point of `manyfold` and `python -m pipeline`: a command by its name, or training."""

import sys
from importlib import import_module
from typing import NoReturn

from pipeline import command_line
from pipeline.commands import COMMANDS
from pipeline.runtime import escape_unprintable


def main() -> NoReturn:
    """Run the command that the first word names; without one, train."""
    escape_unprintable()
    if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
        name = sys.argv.pop(1)  # Hydra reads the rest
        sys.exit(import_module(f"pipeline.commands.{name}").main(sys.argv[1:]))
    sys.exit(command_line.train())


if __name__ == "__main__":
    main()
