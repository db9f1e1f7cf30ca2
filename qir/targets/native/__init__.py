"""Kernels of 8-bit integers in C++ within XLA's programs: bit for bit the portable ones.

The extension is optional: where it was not built, on other platforms than a CPU, and with
QIR_NATIVE=off, the portable layer in qir/targets/xla/kernels computes the same.
"""
