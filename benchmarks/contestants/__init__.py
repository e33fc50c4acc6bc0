"""The contestants of the benchmark, one a module; each runs in a process of its own."""
