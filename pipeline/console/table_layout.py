"""Tables of numbers that fit the console."""

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table

ID_LENGTH = 8  # characters of a run id; commands accept the start of one
UNLIMITED = 10_000  # columns


def make_table(*columns: str) -> Table:
    """Return an empty table; a column whose name ends in " >" holds right-aligned numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        justify: JustifyMethod = "right" if name.endswith(">") else "left"
        table.add_column(name.rstrip(" >"), justify=justify, no_wrap=justify == "right")
    return table


class WideOrNarrow:
    """A table, or other renderables in its place where the console is too narrow for it."""

    def __init__(self, wide: Table, narrow: Sequence[RenderableType]) -> None:
        """Keep both."""
        self._wide, self._narrow = wide, narrow

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield what fits."""
        unlimited = options.update(max_width=UNLIMITED)
        width = Measurement.get(console, unlimited, self._wide).maximum
        yield from [self._wide] if width <= options.max_width else self._narrow
