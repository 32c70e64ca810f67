"""Graph or ONNX file to results."""
