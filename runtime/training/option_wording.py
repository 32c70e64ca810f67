"""How messages write the options of training: as `nablac train` takes them, or as arguments in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.byte_sizes import format_bytes
from grammar.visible import shell_word


@dataclass(frozen=True)
class OptionWording:
    """The words of one way to train, by the names that options have in the record of a run."""

    in_python: bool = False

    def option(self, name: str) -> str:
        """The name of an option."""
        return name if self.in_python else f"--{name.replace('_', '-')}"

    def setting(self, name: str, value: Any) -> str:
        """An option with its value, as the user would have written both; None was left to the train block."""
        option = self.option(name)
        if name == "memory_budget" and value is not None:
            value = format_bytes(value)
        if isinstance(value, list):
            before = "" if self.in_python else f"{option} "
            return " ".join(f"{before}{item}" for item in value) or f"no {option}"
        if value is None or (value is False and not self.in_python):
            return f"no {option}"
        if self.in_python:
            return f"{option}={value!r}"
        return option if value is True else f"{option} {value}"

    def only(self, lengths: Sequence[str]) -> str:
        """Which options may change when a run is resumed: those of its `lengths`, and those no result depends on."""
        if self.in_python:
            *names, last = [*lengths, "jit", "max_seconds", "callbacks", "trackers"]
        else:
            *names, last = [*(self.option(name) for name in lengths), "--jit", "--no-jit", "--max-time", "--track"]
        return f"only {', '.join(names)} and {last} may change"

    def from_weights(self, run: Path) -> str:
        """How a new run starts from the weights of this one; empty where it has none yet."""
        weights = run / "weights.safetensors"
        if not weights.is_file():
            return ""
        option = f"model.load({str(weights)!r})" if self.in_python else f"--weights {shell_word(weights)}"
        return f"; `{option}` starts a new run from its weights"


COMMAND_LINE, PYTHON = OptionWording(), OptionWording(in_python=True)
