"""From a model's spec to what trains it: the loss as a graph, its gradients, the training step."""
