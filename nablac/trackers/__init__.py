"""Trackers of experiments: callbacks by name, which packages offer at the entry point `nablac.trackers`."""
