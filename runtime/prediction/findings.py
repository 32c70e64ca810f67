"""Problems in the inputs of a prediction: broken rows and files, and notes for the user."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.numeric_classes import UnseenClasses

SKIPPING = "`--skip-broken` skips such rows and files, and reports how many"
_MOST_KEPT = 5  # lines of what is skipped


@dataclass
class Findings:
    """Broken rows and files raise errors, or are counted with `skip_broken`; equal notes are kept once."""

    skip_broken: bool = False
    skipped: int = 0
    first_skipped: list[str] = field(default_factory=list)
    notes: dict[str, tuple[str, int]] = field(default_factory=dict)  # the first location of each, and the count
    unseen: UnseenClasses = field(default_factory=UnseenClasses)

    def report_broken(self, location: str, message: str, hint: str | None = None) -> None:
        """Report a row or a file that cannot be used."""
        if not self.skip_broken:
            raise NablacError(Diagnostic(codes.E821, message, place=location, hint=hint or SKIPPING))
        self.skipped += 1
        if len(self.first_skipped) < _MOST_KEPT:
            self.first_skipped.append(f"{location}: {message}")

    def leave_out(self, error: NablacError, file: str) -> None:
        """Report a file or a row that its reader refuses; the signature is that of `report_broken`."""
        diagnostic = error.diagnostics[0]
        if not self.skip_broken:
            raise NablacError(replace(diagnostic, hint=diagnostic.hint or SKIPPING)) from error
        self.report_broken(diagnostic.place or file, diagnostic.message)

    def note(self, location: str, message: str) -> None:
        """Note that a part of an input is ignored, or read in another way; of a whole file once."""
        first, count = self.notes.get(message, ("", 0))
        if location != first or not count:
            self.notes[message] = (first or location, count + 1)

    def lines(self) -> list[str]:
        """The notes for the user at the end."""
        lines = []
        if self.skipped:
            first = ", the first of them:" if self.skipped > len(self.first_skipped) else ":"
            counted = "1 broken row or file" if self.skipped == 1 else f"{self.skipped:,} broken rows or files"
            lines.append(f"{counted} skipped{first}")
            lines += [f"  {line}" for line in self.first_skipped]
        self.unseen.report(self)
        for message, (location, count) in self.notes.items():
            lines.append(f"note: {message}: {location}" + (f" and {count - 1:,} more" if count > 1 else ""))
        return lines
