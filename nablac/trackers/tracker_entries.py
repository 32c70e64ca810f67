"""Trackers by name, from the entry points of what is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean

GROUP = "nablac.trackers"


def trackers_of(argument: Any, warn: Callable[[str], object]) -> dict[str, Any]:
    """The trackers of an argument, one or several: names of entry points, or objects with the methods of callbacks.

    NablacError for a name that no installed package offers, and for a package that a tracker needs. `warn` is called
    with any other failure to begin, and the tracker is left out.
    """
    several = isinstance(argument, Sequence) and not isinstance(argument, str)
    trackers: dict[str, Any] = {}
    for tracker in argument if several else (argument,):
        if not isinstance(tracker, str):
            kind = type(tracker).__name__
            number = sum(type(other).__name__ == kind for other in trackers.values())
            trackers[f"{kind} ({number + 1})" if number else kind] = tracker
            continue
        make = _factory(tracker)
        try:
            trackers[tracker] = make()
        except NablacError:
            raise
        except Exception as error:
            warn(f"the tracker `{tracker}` failed, and tracks nothing: {type(error).__name__}: {error!s:.300}")
    return trackers


def _factory(name: str) -> Callable[[], Any]:
    """What makes the tracker of this name."""
    from importlib.metadata import entry_points  # slow to import, and most runs have no tracker

    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in known:
        hint = did_you_mean(name, known) or f"there are {', '.join(sorted(known)) or 'none'}"
        raise NablacError(Diagnostic(codes.E604, f"no tracker `{name}` is installed", place="trackers", hint=hint))
    try:
        make: Callable[[], Any] = known[name].load()
    except ImportError as error:
        raise missing(name, error.name or known[name].module) from error
    return make


def tracker_names() -> list[str]:
    """The names of the trackers that installed packages offer."""
    from importlib.metadata import entry_points

    return sorted({entry.name for entry in entry_points(group=GROUP)})


def missing(tracker: str, package: str) -> NablacError:
    """The error where a package that a tracker needs is not installed."""
    message, hint = f"the tracker `{tracker}` needs {package}", f"pip install 'nablac[{tracker}]'"
    return NablacError(Diagnostic(codes.E809, message, place="trackers", hint=hint))
