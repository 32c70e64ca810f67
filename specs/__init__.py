"""The standard library and the example models, written in the language, with their data and the diagnostic pages."""
