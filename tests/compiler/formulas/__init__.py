"""Equations of models and gradients: against textbooks, and evaluated against PyTorch."""
