"""`python -m tests.mutations --count 50 --seed 0 --area passes`: which small changes of the sources no test detects."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.mutations.areas import AREAS
from tests.mutations.runs import choose, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--area", action="append", choices=AREAS, help="can be repeated; default: all")
    options = parser.parse_args()
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        chosen = choose(options.count, options.seed, tuple(options.area or AREAS))
        for number, outcome in enumerate(run(chosen, Path(folder)), 1):
            print(f"{number:3} {outcome.detected_by or 'NOT DETECTED'}\n    {outcome.mutation}", flush=True)
            survivors += [] if outcome.detected_by else [outcome.mutation]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} were detected", *survivors, sep="\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
