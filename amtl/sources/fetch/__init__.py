"""Data sets from their publisher: downloaded, verified, unpacked."""
