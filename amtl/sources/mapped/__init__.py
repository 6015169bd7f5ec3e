"""A user's own files, whatever their columns: told from the data, or said by options."""
