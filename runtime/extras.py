"""Optional packages: the error where one is missing, and how to install it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

if TYPE_CHECKING:
    from grammar.source import Span


def missing_extra(what: str, extra: str, span: Span | None = None, location: str | None = None) -> NablacError:
    """The error for things, in the plural, whose library is not installed."""
    message, hint = f"{what} need the `{extra}` extra", f"pip install 'nablac[{extra}]'"
    return NablacError(Diagnostic(codes.E809, message, span, place=location, hint=hint))


def import_pandas() -> Any:
    """The module pandas; NablacError where it is not installed."""
    try:
        import pandas
    except ImportError as error:
        message = "`to_dataframe` needs pandas"
        raise NablacError(Diagnostic(codes.E809, message, place="pandas", hint="pip install pandas")) from error
    return pandas
