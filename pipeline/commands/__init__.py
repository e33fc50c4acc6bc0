"""Commands beside training: `manyfold COMMAND ...`."""

# Each is a module with a `main`.
COMMANDS = (
    "compare",
    "describe",
    "export",
    "leaderboard",
    "predict",
    "promote",
    "reproduce",
    "review",
    "serve",
    "ui",
)
