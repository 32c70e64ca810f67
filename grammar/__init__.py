"""Text to syntax tree, and what we say when that fails; knows nothing of tensors."""
