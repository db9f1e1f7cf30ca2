"""PReLU as an op, and the Kestrel accelerator as a target: a plugin of qir to read and copy."""
