"""Whole models with all passes, with each alone and without each, against NumPy on the graph as written."""
