"""Rewrites of graphs, one a file; `pipeline.py` orders them."""
