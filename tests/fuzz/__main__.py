"""Random programs against PyTorch: `python -m tests.fuzz --first 0 --count 1000 --out failures.jsonl`.

A seed always gives the same program. Each failing one is minimized and written as a line of the file, with the stages
and sizes at which it differs; `--kinds attention pooling` uses only statements of these kinds. With `--passes` each
program is compared with itself as it is written instead: with all passes, with each alone and with all but each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.checks import Checked
from tests.fuzz.each_pass import differences
from tests.fuzz.smaller import smaller
from tests.fuzz.statements import random_program


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--length", type=int, help="statements of a program")
    parser.add_argument("--kinds", nargs="*", default=())
    parser.add_argument("--out", type=Path, default=Path("failures.jsonl"))
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no program after so many")
    parser.add_argument("--passes", action="store_true", help="compare passes, and not with PyTorch")
    options = parser.parse_args()
    began, tried, compared, failed = time.time(), 0, 0, 0
    used: Counter[str] = Counter()
    with options.out.open("a") as out:
        for seed in range(options.first, options.first + options.count):
            if time.time() - began > options.seconds:
                break
            program = random_program(seed, options.length, options.kinds)
            tried += 1
            used.update(statement.op for statement in program.statements)
            if options.passes:
                rows = [vars(difference) for difference in differences(program, seed)]
                failed += bool(rows)
                for row in rows:
                    out.write(json.dumps({"seed": seed, "text": program.text, **row}) + "\n")
                    out.flush()
                continue
            checked = Checked(program)
            failures = checked.check()
            compared += checked.compared
            if failures:
                failed += 1
                kind = failures[0].stage.split(" ")[0].rstrip(":")
                small = smaller(program, kind)
                shown = [vars(failure) for failure in (Checked(small).check() or failures)][:6]
                record = {"seed": seed, "kind": kind, "text": small.text, "original": program.text, "failures": shown}
                out.write(json.dumps(record) + "\n")
                out.flush()
    seconds = round(time.time() - began)
    print(json.dumps({"tried": tried, "compared": compared, "failed": failed, "seconds": seconds, "used": used}))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
