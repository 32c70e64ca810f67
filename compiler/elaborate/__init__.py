"""Syntax tree to graph: names, instances, shapes; every expression is evaluated once, at compile time."""
