"""Searching the ranges of a model's text: trials, each an ordinary run, shared by any number of processes (Optuna)."""
