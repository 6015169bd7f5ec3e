"""Sizes to bytes: budget, ragged table, the bundle on disk."""
