"""Warnings on models without errors: what is allowed, and is seldom meant."""
