"""Celery's side of the system: one thin module per queue, each task a door to one service."""

from tasks.application import celery

__all__ = ["celery"]
