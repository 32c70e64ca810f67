"""Reports of rows that are looked at before they are read."""

from __future__ import annotations


class Silent:
    """Takes reports of a first look at rows: they are reported when they are read."""

    def report_broken(self, location: str, message: str, hint: str | None = None) -> None:
        """Nothing."""

    def note(self, location: str, message: str) -> None:
        """Nothing."""
