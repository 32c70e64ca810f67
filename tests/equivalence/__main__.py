"""Whole models by their passes: `python -m tests.equivalence FOLDER... --which all alone without`.

Each model of each file in the folders (by default `specs`) is compared in f64 with NumPy on its graph as written:
forward, the gradient of its loss and a training step, on random inputs and on the edge cases of `nablac verify`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from grammar.diagnostics import NablacError
from tests.equivalence.comparison import Reference
from tests.equivalence.subjects import subjects
from tests.equivalence.variants import TARGETS, variants
from tests.paths import SPECS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, default=[SPECS], help="model files and folders of them")
    parser.add_argument("--which", nargs="*", choices=("all", "alone", "without"), default=("all",))
    parser.add_argument("--kinds", nargs="*", default=("forward", "gradient", "step"))
    parser.add_argument("--targets", nargs="*", default=[target.name for target in TARGETS])
    parser.add_argument("--no-edges", action="store_true", help="random inputs alone")
    parser.add_argument("--no-onnx", action="store_true", help="NumPy alone")
    parser.add_argument("--out", type=Path, default=Path("differences.jsonl"))
    options = parser.parse_args()
    files = [file for path in options.paths for file in (sorted(path.glob("*.model")) if path.is_dir() else [path])]
    targets = tuple(target for target in TARGETS if target.name in options.targets)
    compared = differences = 0
    with options.out.open("a") as out:
        for file in files:
            for subject in subjects(file):
                if subject.kind not in options.kinds:
                    continue
                began, counted = time.process_time(), differences
                try:
                    reference = Reference(subject, not options.no_edges)
                except NablacError as error:
                    print(f"{subject.name} {subject.kind}: not compared, {error}".splitlines()[0], flush=True)
                    continue
                for variant in (variant for which in options.which for variant in variants(which, targets)):
                    for difference in reference.check(variant, not options.no_onnx):
                        differences += 1
                        out.write(json.dumps(vars(difference)) + "\n")
                        out.flush()
                compared += reference.compared
                seconds = time.process_time() - began
                print(
                    f"{subject.name} {subject.kind}: {reference.compared} compared, {differences - counted} differ, "
                    f"{seconds:.1f} s",
                    flush=True,
                )
    print(json.dumps({"compared": compared, "differences": differences}))
    return 1 if differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
