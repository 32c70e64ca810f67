"""The error of a run that the data ended, by its class: each backend raises it, and callers look for the cause."""

from __future__ import annotations

from grammar.diagnostics import NablacError


class StoppedByData(NablacError):
    """An operator could not run on the data that it was fed (E806)."""
