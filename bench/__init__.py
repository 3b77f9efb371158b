"""Benchmarks: what the documents claim about speed and size, measured."""
