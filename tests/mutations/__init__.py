"""Small random changes of the sources, which the tests must detect: `python -m tests.mutations --count 50`."""
