"""Methods side by side on one data set: equal rows, equal training, equal bytes, equal precision.

task            the seam: what a method is given, and what it hands back
starts          what is trained once a seed and shared by all methods
methods         every method by name: `peers/`, the product's own (`ours`), what both are measured against (`references`)
harness         one run, and what a comparison runs
execution       `run`: all runs, by one process or several, each once
results         what came out, over seeds
"""
