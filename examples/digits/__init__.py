"""A small trained convolutional network on scikit-learn's handwritten digits."""
