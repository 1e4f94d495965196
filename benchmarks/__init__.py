"""Measurements: asv suites of the library itself, and in `compare` the same tasks done by other packages."""
