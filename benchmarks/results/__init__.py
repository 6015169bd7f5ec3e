"""docs/results.md from raw runs: what is lost at which size, on real data, every peer side by side.

`plan` says which runs the page needs, most important first; `measure` makes one; `runner` makes those that are missing, several at a
time; `page` is a pure function of the finished ones. Finished runs lie in `runs/`, one JSON file each, and are committed.
"""
