"""Graph to ONNX and back."""
