"""Writes `docs/clients.md` from the results of `benchmarks.clients`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.client_runs import LIMIT

_SIGNS = {"right": "right", "fixed": "fixed sizes", "wrong": "**wrong**", "refused": "refused", "": "not run"}
_INTRODUCTION = """\
# Who runs exported files

Files run in other clients at batches of 1 and 3, and compared with onnxruntime, its optimisation off. What `portable`
writes otherwise than the default target, and why, is in [targets.md](targets.md). `python -m benchmarks.clients` writes
this page; it was last run on {date}, on two shared cores without a GPU.

The files are what these commands write, with `--target portable` or without it:

| file | command |
|---|---|
| inference | `nablac compile m.model` |
| gradient | `nablac grad m.model` |
| training step | `nablac compile m.model --train` |
| decode step | `nablac compile m.model --decode` |

[targets.md](targets.md) says when the file of the default target suffices in other clients.

- *right*: the file as it is, with all results within rounding (1e-3 of the largest magnitude).
- *fixed sizes*: right, if the named sizes in the file are replaced by numbers before the client reads it.
- *refused*: an error, a crash, or no result within {limit} s of the processor, in which case no fixed sizes were tried;
  the reasons are at the end.
- **wrong**: other numbers, without a word. Do not use this client for such a model.
- *not run*: the file that is written now was not run there, as the time of the run was limited: of gradients, training
  steps and decode steps most in other clients than OpenVINO, OpenCV and MNN.

Versions: {versions}.
"""

_TARGETS = {"portable": "--target portable", "ort-cpu": "the default target"}


def write_table(record: Mapping[str, Any], file: Path, titles: Mapping[str, str]) -> None:
    """Write the page: a table for each kind of file, then the reasons of what is not right."""
    clients = [client for client in titles if client in record["versions"]]
    versions = ", ".join(f"{titles[client]} {record['versions'][client]}" for client in clients)
    parts = [_INTRODUCTION.format(date=record["date"], versions=versions, limit=LIMIT)]
    for target, results in record["results"].items():
        kinds: dict[str, dict[str, Mapping[str, Any]]] = {}
        for key, outcomes in results.items():
            kind, _, name = key.partition(": ")
            kinds.setdefault(kind, {})[name] = outcomes
        for kind, rows in kinds.items():
            parts.append(_table(f"{kind.capitalize()}, {_TARGETS[target]}", rows, clients, titles))
    for target, results in record["results"].items():
        parts.append(_reasons(_TARGETS[target], results, clients, titles))
    file.write_text("\n".join(parts), "utf-8")


def _table(title: str, rows: Mapping[str, Mapping[str, Any]], clients: list[str], titles: Mapping[str, str]) -> str:
    lines = [f"## {title}\n", f"| file | {' | '.join(titles[client] for client in clients)} | right in |"]
    lines.append("|---" * (len(clients) + 2) + "|")
    for name, outcomes in rows.items():
        if "" in outcomes:
            lines.append(f"| {name} | not written: {outcomes['']['note']} {'| ' * (len(clients) + 1)}|")
            continue
        cells = [_SIGNS[outcomes.get(client, {"state": ""})["state"]] for client in clients]
        right, run = (
            sum(outcome["state"] in states for outcome in outcomes.values()) for states in (("right", "fixed"), _SIGNS)
        )
        lines.append(f"| {name} | {' | '.join(cells)} | {right} of {run} |")
    return "\n".join([*lines, ""])


def _reasons(
    title: str, results: Mapping[str, Mapping[str, Any]], clients: list[str], titles: Mapping[str, str]
) -> str:
    lines = [f"## Reasons, {title}\n"]
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
