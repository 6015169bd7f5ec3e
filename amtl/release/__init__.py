"""Evaluation, report, gate, registry, serving."""
