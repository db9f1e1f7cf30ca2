"""Integer kernels in the form XLA:CPU runs fastest, one file a subject.

Each is a plain function that `jax.jit` accepts, integers in and integers out, and exact: its
accumulator is the int32 of `sum((x - zero) * w) + bias`, modulo 2^32. A kernel that takes an
`epilogue` hands it that accumulator, output channels on the last axis, in the shape of the result.
Constants are prepared ahead of time, in numpy (packing.py).
"""
