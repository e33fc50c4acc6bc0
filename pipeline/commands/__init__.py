"""Commands beside training: `manyfold COMMAND ...`."""

COMMANDS = ("compare", "describe", "promote")  # each the name of its module
