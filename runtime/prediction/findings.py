"""What is found in the inputs of a prediction that cannot be used, or that a person has to hear of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

SKIPPING = "`--skip-broken` skips such rows and files, and reports how many"
_MOST_KEPT = 5  # lines of what is skipped


@dataclass
class Findings:
    """Broken rows and files are errors, or with `skip_broken` counted; notes are kept by what they say."""

    skip_broken: bool = False
    skipped: int = 0
    first_skipped: list[str] = field(default_factory=list)
    notes: dict[str, tuple[str, int]] = field(default_factory=dict)  # the first place of each, and how many there are

    def report_broken(self, location: str, message: str, hint: str | None = None) -> None:
        """A row or a file that cannot be used."""
        if not self.skip_broken:
            raise NablacError(Diagnostic(codes.E821, message, place=location, hint=hint or SKIPPING))
        self.skipped += 1
        if len(self.first_skipped) < _MOST_KEPT:
            self.first_skipped.append(f"{location}: {message}")

    def leave_out(self, error: NablacError, file: str) -> None:
        """A file or a row that its reader refuses, as `report_broken` has it."""
        diagnostic = error.diagnostics[0]
        if not self.skip_broken:
            raise NablacError(replace(diagnostic, hint=diagnostic.hint or SKIPPING)) from error
        self.report_broken(diagnostic.place or file, diagnostic.message)

    def note(self, location: str, message: str) -> None:
        """Something of an input that the predictions are made without, or in another way."""
        first, count = self.notes.get(message, (location, 0))
        self.notes[message] = (first, count + 1)

    def lines(self) -> list[str]:
        """What a person hears in the end."""
        lines = []
        if self.skipped:
            first = ", the first of them:" if self.skipped > len(self.first_skipped) else ":"
            counted = "1 broken row or file" if self.skipped == 1 else f"{self.skipped:,} broken rows or files"
            lines.append(f"{counted} skipped{first}")
            lines += [f"  {line}" for line in self.first_skipped]
        for message, (place, count) in self.notes.items():
            lines.append(f"note: {message}: {place}" + (f" and {count - 1:,} more" if count > 1 else ""))
        return lines
