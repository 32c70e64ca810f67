"""`nablac` and `python -m nablac`: an interrupt is one from the first import on."""

import sys


def main() -> None:
    """The `nablac` command, which an interrupt ends also while it is still being imported."""
    try:
        from nablac.commands import main as run

        run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
