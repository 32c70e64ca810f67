"""The runtimes."""
