"""What the README's figures come from: models, training and measurements, each runnable."""
