"""Commands beside training: `manyfold COMMAND ...`."""

# Each is a module with a `main`.
COMMANDS = (
    "compare",
    "describe",
    "drift",
    "export",
    "leaderboard",
    "predict",
    "promote",
    "reproduce",
    "review",
    "serve",
    "ui",
)
