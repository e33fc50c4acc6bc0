"""Functions of `import pipeline`, imported on first use."""
