"""Exporting graphs to ONNX."""
