"""Side-by-side timings: each script prints ratios from one run of both sides. Never tests."""
