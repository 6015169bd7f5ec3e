"""Any trained torch model, its embedding tables packed: `amtl.compress_model`."""
