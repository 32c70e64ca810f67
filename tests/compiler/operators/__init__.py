"""Every operator against its oracles: one table for each family."""
