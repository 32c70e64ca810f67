"""Predictions: tables, images and texts as they stand, through a trained model, to rows of results."""
