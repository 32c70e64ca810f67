"""Training: the loop around a training step, and what it leaves on the disk."""
