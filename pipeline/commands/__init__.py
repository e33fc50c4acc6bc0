"""Commands beside training: `manyfold COMMAND ...`."""

COMMANDS = ("compare", "describe", "promote", "ui")  # each is a module with a `main`
