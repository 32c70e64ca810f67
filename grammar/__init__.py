"""Text to syntax tree, and diagnostics; knows nothing of tensors."""
