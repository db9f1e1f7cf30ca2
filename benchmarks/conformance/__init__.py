"""Whether qir's meanings of TensorFlow Lite's operators are those of its interpreter."""
