"""The suffixes of written files: none may be that of another format than the file has."""

from __future__ import annotations

from pathlib import Path

_SUFFIXES = {
    "ONNX": (".onnx",),
    "LaTeX": (".tex", ".latex", ".txt", ".md"),
    "text": (".txt", ".md"),
    "HTML": (".html", ".htm"),
    "weights": (".safetensors", ".npz", ".npy", ".pt", ".h5"),
    "a picture": (".svg", ".mmd", ".mermaid", ".dot", ".gv", ".png", ".jpg", ".jpeg", ".pdf"),
    "a table": (".csv", ".jsonl", ".json", ".parquet"),
    "a model's text": (".model",),
}


def is_foreign(path: Path, own: tuple[str, ...]) -> bool:
    """Whether a path has the suffix of a format in the table, and none of its `own`; other suffixes are free."""
    suffix = path.suffix.lower()
    return suffix not in own and any(suffix in others for others in _SUFFIXES.values())


def check_suffix(path: Path, form: str) -> None:
    """UsageError for a path with the suffix of another format than `form`, a key of the table; others are free."""
    import click

    own = _SUFFIXES[form]
    if is_foreign(path, own):
        suffix, named = path.suffix.lower(), path.with_suffix(own[0])
        raise click.UsageError(f"the file is {form}, which no `{suffix}` file holds: name it {named}, for example")
