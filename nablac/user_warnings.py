"""Warnings that name the line of the user from which nablac was called."""

from __future__ import annotations

from warnings import warn

from grammar.user_calls import level_of_user


def warn_user(text: str) -> None:
    """Warn with a UserWarning."""
    warn(text, stacklevel=level_of_user())
