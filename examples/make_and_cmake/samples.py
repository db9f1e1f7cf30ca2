"""Write the calibration samples, f32[64,16], to the file that is named."""

import sys

import numpy as np

np.savez(sys.argv[1], x=np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32))
