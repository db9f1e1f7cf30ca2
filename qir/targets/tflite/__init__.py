"""TensorFlow Lite: its files in and out, its interpreter as the judge of what its ops mean."""
