"""From a model's spec to the graphs that train it: its loss, gradients and training step."""
