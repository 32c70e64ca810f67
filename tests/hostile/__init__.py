"""Hostile files: damaged texts and data, and data that tries to do what data may not."""
