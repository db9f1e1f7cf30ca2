"""The XLA target: int8 kernels as XLA runs them best on a CPU."""
