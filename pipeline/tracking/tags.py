"""Tags that several modules of this room read or write."""

SUPERSEDED = "superseded_by"  # a run in whose place a resumed sweep lists another
STOPPED = "stopped_after_repeat"  # a run that racing stopped: after how many
