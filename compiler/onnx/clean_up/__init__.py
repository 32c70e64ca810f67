"""The clean-up of a graph as it will be written, after lowering: each rewrite is a rule on its nodes."""
