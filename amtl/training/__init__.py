"""The training loop, checkpoints, warm start, the size search."""
