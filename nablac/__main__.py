"""`python -m nablac`."""

from nablac.commands import main

if __name__ == "__main__":
    main()
