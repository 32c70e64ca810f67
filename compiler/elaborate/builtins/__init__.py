"""The functions of the language that are not operators, by family."""
