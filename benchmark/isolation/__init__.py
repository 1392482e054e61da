"""Plugins cannot touch each other's measurement: what they share is sealed, and a changed seal names who broke it."""
