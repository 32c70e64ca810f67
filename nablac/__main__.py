"""`nablac` and `python -m nablac`: an interrupt is one from the first import on."""

import gc
import sys

# Of container objects made and not yet freed: the collector looks at new ones when there are so many, instead of 700.
# Syntax trees, graphs and modules are many objects, nearly all of which stay (docs/performance.md has what it saves).
NEW_OBJECTS = 20_000


def main() -> None:
    """The `nablac` command, which an interrupt ends also while it is still being imported."""
    gc.set_threshold(NEW_OBJECTS, 10, 10)
    try:
        from nablac.commands import main as run

        run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        gc.freeze()  # the system takes all memory back: no search for cycles before that


if __name__ == "__main__":
    main()
