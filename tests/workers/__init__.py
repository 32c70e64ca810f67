"""Several workers: what the tests share, and the campaigns `python -m tests.workers.equality` and `.kills`."""
