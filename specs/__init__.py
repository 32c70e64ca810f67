"""The library of the language, in the language itself, and example models. Nothing here is Python."""

from pathlib import Path

FOLDER = Path(__file__).parent
