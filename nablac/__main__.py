"""The entry point of `nablac` and `python -m nablac`; handles Ctrl-C from the first import on."""

import gc
import os
import sys

# New container objects after which the garbage collector runs; Python's default is 700. Syntax trees, graphs and
# modules are many objects, of which nearly all stay alive. docs/performance.md says what this saves.
NEW_OBJECTS = 20_000


def main() -> None:
    """Run the `nablac` command; an interrupt during its imports ends it too."""
    gc.set_threshold(NEW_OBJECTS, 10, 10)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy would start threads that nablac does not use
    try:
        from nablac.commands import main as run

        run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        gc.freeze()  # the process ends: skip the last collection


if __name__ == "__main__":
    main()
