"""A run, from what the user typed to a record."""
