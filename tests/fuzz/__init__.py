"""Random programs of the language against PyTorch: values, gradients, and the results of passes and onnxruntime."""
