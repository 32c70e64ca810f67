"""Small random changes of the sources, which the tests must notice: `python -m tests.mutations --count 50`."""
