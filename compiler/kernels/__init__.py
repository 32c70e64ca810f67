"""Which ONNX operators the runtimes have kernels for: tables that `benchmarks/kernel_tables.py` writes."""
