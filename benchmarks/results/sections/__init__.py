"""The sections of docs/results.md, each a pure function of finished runs."""
