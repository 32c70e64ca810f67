"""Writes `docs/clients.md` from the results of `benchmarks.clients`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SIGNS = {"right": "right", "fixed": "fixed sizes", "wrong": "**wrong**", "refused": "refused", "": ""}
_INTRODUCTION = """\
# Who runs exported files

Files written by `nablac compile --target portable`, run in other clients at batches of 1 and 3 and compared with
onnxruntime. `python -m benchmarks.clients` writes this page; it was last run on {date}.

- *right*: the file as it is, with all results within rounding (1e-3 of the largest magnitude).
- *fixed sizes*: right, if the named sizes in the file are replaced by numbers before the client reads it.
- *refused*: an error, a crash or no result within the time limit; the reasons are listed below.
- **wrong**: other numbers, without a word. Do not use this client for such a model.
- An empty cell: not run.

Versions: {versions}.
"""


def write_table(record: Mapping[str, Any], file: Path, titles: Mapping[str, str]) -> None:
    """Write the page: a table for each kind of file, then the reasons of what is not right."""
    clients = [client for client in titles if client in record["versions"]]
    versions = ", ".join(f"{titles[client]} {record['versions'][client]}" for client in clients)
    parts = [_INTRODUCTION.format(date=record["date"], versions=versions)]
    kinds: dict[str, dict[str, Mapping[str, Any]]] = {}
    for key, outcomes in record["results"].items():
        kind, _, name = key.partition(": ")
        kinds.setdefault(kind, {})[name] = outcomes
    for kind, rows in kinds.items():
        parts.append(_table(kind, rows, clients, titles))
    parts.append(_reasons(record["results"], clients, titles))
    file.write_text("\n".join(parts), "utf-8")


def _table(kind: str, rows: Mapping[str, Mapping[str, Any]], clients: list[str], titles: Mapping[str, str]) -> str:
    lines = [f"## {kind.capitalize()}\n", f"| file | {' | '.join(titles[client] for client in clients)} |"]
    lines.append("|---" * (len(clients) + 1) + "|")
    for name, outcomes in rows.items():
        if "" in outcomes:
            lines.append(f"| {name} | not written: {outcomes['']['note']} {'| ' * len(clients)}|")
            continue
        cells = [_SIGNS[outcomes.get(client, {"state": ""})["state"]] for client in clients]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _reasons(results: Mapping[str, Mapping[str, Any]], clients: list[str], titles: Mapping[str, str]) -> str:
    lines = ["## Reasons\n"]
    for client in clients:
        reasons: dict[str, list[str]] = {}
        for key, outcomes in results.items():
            outcome = outcomes.get(client)
            if outcome is not None and outcome["state"] in ("refused", "wrong", "fixed"):
                reasons.setdefault(outcome["note"], []).append(key.partition(": ")[2])
        lines += [f"- {titles[client]}:"] if reasons else []
        for reason, names in reasons.items():
            lines.append(f"  - {', '.join(dict.fromkeys(names))}: `{reason.replace('`', chr(39))}`")
    return "\n".join([*lines, ""])
