"""Commands beside training: `manyfold COMMAND ...`."""

# Each is a module with a `main`.
COMMANDS = (
    "compare",
    "describe",
    "leaderboard",
    "predict",
    "promote",
    "reproduce",
    "review",
    "serve",
    "ui",
)
