"""Prefect flows, and the only place that runs DVC."""
