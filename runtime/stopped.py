"""The error that both backends raise when an operator cannot run on the data; callers look for the cause."""

from __future__ import annotations

from grammar.diagnostics import NablacError


class StoppedByData(NablacError):
    """An operator cannot run on the data that it is fed (E806)."""
