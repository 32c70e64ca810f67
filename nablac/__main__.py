"""`nablac` and `python -m nablac`: an interrupt is one from the first import on."""

import sys


def main() -> None:
    try:
        from nablac.commands import main as run

        run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
