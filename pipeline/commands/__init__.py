"""Commands beside training: `manyfold COMMAND ...`."""

# Each is a module with a `main`.
COMMANDS = (
    "compare",
    "describe",
    "drift",
    "export",
    "importance",
    "leaderboard",
    "predict",
    "promote",
    "report",
    "reproduce",
    "review",
    "serve",
    "ui",
)
