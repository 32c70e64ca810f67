"""`python -m benchmarks all` measures every table; `python -m benchmarks TABLE ...` some of them.

Each contender builds in a process of its own with the same weights and inputs, and they take turns. Figures are
medians; `of ours` is a peer's figure divided by that of our fastest column. What is not installed is left out with a
note.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

from benchmarks import history, results
from benchmarks.contenders import CONTENDERS, INSTALL
from benchmarks.tables import TABLES, Settings, quick

BUSY = 0.5  # a load above it makes wall times mean little


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    names = list(TABLES) if "all" in options.tables else list(dict.fromkeys(options.tables))
    cores = (1, 2) if (os.cpu_count() or 1) > 1 else (1,)
    threads = (options.threads,) if options.threads else cores
    settings = Settings(False, tuple(options.case), tuple(options.contender), threads)
    if options.quick:
        settings = quick(settings)
    machine = results.machine()
    print(f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}; load {machine['load']}")
    if machine["load"] and machine["load"] > BUSY:
        print("This machine is busy: processor times on one thread mean something, wall times do not.")
    rows = []
    for name in names:
        start = time.monotonic()
        module = importlib.import_module(f"benchmarks.tables.{TABLES[name].module}")
        print(f"\n== {name}: {TABLES[name].shows}\n{module.NOTE}\n")
        for row in module.rows(settings):
            rows.append(row)
            print("\n".join(results.lines_of(row)), flush=True)
            if options.json:
                results.write(options.json, results.document(rows))
        print(f"({time.monotonic() - start:.0f} s)")
    entry = history.entry(results.document(rows), rows)
    worse = history.regressions(history.read(), entry)
    for sentence in worse:
        print(f"worse: {sentence}")
    if options.record:
        history.append(entry)
        print(f"recorded in {history.FILE.name}")
    return 1 if worse else 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    tables = "\n".join(f"  {name:<11} {table.shows}" for name, table in TABLES.items())
    contenders = "\n".join(f"  {name}" for name in CONTENDERS)
    epilog = f"tables:\n{tables}\n\ncontenders:\n{contenders}\n\nto install what is compared:\n  {INSTALL}"
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__, epilog=epilog, formatter_class=kind)
    parser.add_argument("tables", nargs="+", choices=["all", *TABLES], metavar="TABLE", help="all, or some")
    parser.add_argument("--quick", action="store_true", help="one thread, fewer cases, short turns")
    parser.add_argument("--case", action="append", default=[], metavar="WORD", help="only cases with this word")
    only = parser.add_argument("--contender", action="append", default=[], help="only these and ours")
    only.metavar, only.choices = "NAME", list(CONTENDERS)
    parser.add_argument("--threads", type=int, choices=[1, 2], help="only so many  [default: both]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to a file")
    parser.add_argument("--record", action="store_true", help="add this run to the history")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
