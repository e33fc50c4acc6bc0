"""Commands beside training: `manyfold COMMAND ...`."""

# Each is a module with a `main`.
COMMANDS = ("compare", "describe", "predict", "promote", "reproduce", "serve", "ui")
