"""Durations as workflow code gives them: a timedelta, or seconds."""

from __future__ import annotations

from datetime import timedelta


def duration_of(value: float | timedelta) -> timedelta:
    """The duration as a timedelta. Raises ValueError for one that is negative."""
    delta = value if isinstance(value, timedelta) else timedelta(seconds=value)
    if delta < timedelta(0):
        raise ValueError(f"A duration of `{value}` is negative.")
    return delta
