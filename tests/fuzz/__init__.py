"""Random programs of the language against PyTorch: values, gradients, what the passes and onnxruntime make of them."""
