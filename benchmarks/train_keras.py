"""Train three networks of Keras on Fashion-MNIST and save each as a SavedModel.

    python -m benchmarks.train_keras [--only NAME] [--epochs N]

A convolutional network, a vision transformer and an LSTM over the rows, a few minutes each on one
core. They go to build/fashion_NAME; benchmarks.tensorflow_peer quantizes them.
"""

import os
import time
from pathlib import Path

import click

from .train_fashion import DATA, ROOT, fashion_mnist

EPOCHS = {"cnn": 6, "vit": 10, "lstm": 10}
BATCH, RATE = 128, 2e-3


def saved_model(name: str) -> Path:
    """Where the trained network of that name lies."""
    return ROOT / "build" / f"fashion_{name}"


def cnn():
    """Four convolutions with batch norms, two of them depthwise-separable."""
    import keras
    from keras import layers as L

    x = keras.Input((28, 28, 1))
    y = L.ReLU()(L.BatchNormalization()(L.Conv2D(16, 3, padding="same", use_bias=False)(x)))
    y = L.ReLU()(L.BatchNormalization()(L.Conv2D(32, 3, padding="same", use_bias=False)(y)))
    y = L.MaxPooling2D()(y)
    for width in (48, 64):
        y = L.ReLU(6)(L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same")(y)))
        y = L.ReLU(6)(L.BatchNormalization()(L.Conv2D(width, 1)(y)))
        y = L.MaxPooling2D()(y)
    return keras.Model(x, L.Dense(10)(L.Flatten()(y)))


def vit():
    """A vision transformer: 49 patches of 4 by 4 pixels, 3 blocks of width 64."""
    import keras
    from keras import layers as L

    from .models.keras_zoo import Positions, encoder_block

    x = keras.Input((28, 28, 1))
    y = Positions()(L.Reshape((49, 64))(L.Conv2D(64, 4, strides=4)(x)))
    for _ in range(3):
        y = encoder_block(y, 4, 64)
    return keras.Model(x, L.Dense(10)(L.GlobalAveragePooling1D()(L.LayerNormalization()(y))))


def lstm():
    """An LSTM of 64 units over 28 rows of 28 pixels, written out: TensorFlow's converter refuses
    the loops that Keras 3 writes (TensorListReserve)."""
    import keras
    from keras import layers as L

    x = keras.Input((28, 28, 1))
    return keras.Model(x, L.Dense(10)(L.LSTM(64, unroll=True)(L.Reshape((28, 28))(x))))


BUILDERS = {each.__name__: each for each in (cnn, vit, lstm)}


def train(name: str, data: Path = DATA, epochs: int | None = None) -> Path:
    """Train one network, say how good it is on the test images, and save it."""
    os.environ["KERAS_BACKEND"] = "tensorflow"  # what SavedModels are written by
    import keras

    keras.utils.set_random_seed(0)
    images, labels, test_images, test_labels = fashion_mnist(data)
    epochs = epochs or EPOCHS[name]
    model = BUILDERS[name]()
    rate = keras.optimizers.schedules.CosineDecay(RATE, epochs * (len(images) // BATCH + 1))
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4, global_clipnorm=1.0),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])  # fmt: skip
    began = time.perf_counter()
    model.fit(images, labels, BATCH, epochs, verbose=2)
    seconds = time.perf_counter() - began
    reached = model.evaluate(test_images, test_labels, 500, verbose=0)[1]
    model.export(str(saved_model(name)), verbose=False)
    click.echo(f"{name}: {model.count_params():,} parameters, test accuracy {reached:.2%} after "
               f"{seconds:.0f} s, saved to {saved_model(name)}")  # fmt: skip
    return saved_model(name)


@click.command(help=__doc__)
@click.option("--only", multiple=True, type=click.Choice(list(BUILDERS)), help="Just these.")
@click.option("--data", default=DATA, type=Path, help="Folder of fashion_mnist/ (QIR_DATA).")
@click.option("--epochs", type=int, help="Passes over the training images.")
def main(only, data, epochs) -> None:
    for name in only or BUILDERS:
        try:
            train(name, data, epochs)
        except FileNotFoundError as error:
            raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
