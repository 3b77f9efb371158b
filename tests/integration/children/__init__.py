"""Processes that a test gives a turn to, each ending in its own way."""
