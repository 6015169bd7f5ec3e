"""How often each value occurs in the training rows: exact, incremental, kept by content."""
