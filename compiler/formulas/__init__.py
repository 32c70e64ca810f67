"""A model and its gradient as equations to read: names of values, simplification, expressions, text and LaTeX."""
