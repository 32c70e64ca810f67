"""Files that nobody would write: mutated texts, and data that does more than data may."""
