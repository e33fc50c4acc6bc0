"""Commands beside training: `manyfold COMMAND ...`."""

COMMANDS = ("compare", "describe", "promote", "reproduce", "ui")  # each is a module with a `main`
