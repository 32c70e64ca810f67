"""Predictions: from raw tables, images and texts, by a trained model, to rows of results."""
