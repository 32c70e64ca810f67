"""Texts as numbers and back: tokenizers that a compiled model carries in its file."""
