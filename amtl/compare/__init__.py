"""Methods side by side on one data set: equal rows, equal training, equal bytes, equal precision.

`task` is the seam: what a method is given, and what it hands back. `methods` lists every method by name.
"""
