"""Examples to train on: from files, as a train block describes them, to batches in a seeded order."""
