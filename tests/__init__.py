"""What nablac promises, as tables and sentences."""
