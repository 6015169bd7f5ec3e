"""Measurements: what is claimed in docs/benchmarks.md, each with the script that makes it."""
