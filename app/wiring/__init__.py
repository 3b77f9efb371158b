"""Builds the adapters once per process and hands services what they need; the only package that names them all.

One module for what every process shares, and one for each kind of process, so that none loads what it never uses.
Everything is built on first use: a process that forks before it works shares no socket with its children.
"""
