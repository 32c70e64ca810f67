"""The library of the language, in the language itself, and example models. Nothing here is Python."""
