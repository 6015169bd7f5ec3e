"""Bytes: a budget to a layout, a layout to the packed table, the packed table to the bundle on disk."""
