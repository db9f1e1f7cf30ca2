"""Networks that keras.applications has none of, small, for whatever backend Keras has."""

import keras

L = keras.layers


class Positions(L.Layer):
    """Adds a trained vector to each token."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="random_normal", name="table")

    def call(self, x):
        return x + self.table


def encoder_block(x, heads: int, width: int, causal: bool = False):
    """A transformer's block, norms first."""
    y = L.LayerNormalization()(x)
    x = x + L.MultiHeadAttention(heads, width // heads)(y, y, use_causal_mask=causal)
    y = L.LayerNormalization()(x)
    return x + L.Dense(width)(L.Dense(4 * width, activation="gelu")(y))


def vit():
    """A vision transformer: 64 patches of 8 by 8 pixels, 4 blocks of width 128."""
    x = keras.Input((64, 64, 3))
    y = L.Reshape((64, 128))(L.Conv2D(128, 8, strides=8)(x))
    for _ in range(4):
        y = encoder_block(y, 4, 128)
    return keras.Model(x, L.Dense(10)(L.GlobalAveragePooling1D()(L.LayerNormalization()(y))))


def bert():
    """A BERT-like encoder of tokens: 64 of them, 2 blocks of width 128."""
    x = keras.Input((64,), dtype="int32")
    y = L.LayerNormalization()(L.Embedding(1000, 128)(x))
    for _ in range(2):
        y = encoder_block(y, 4, 128)
    return keras.Model(x, L.Dense(10)(y[:, 0]))


def gpt_block():
    """A decoder's block as GPT-2 has it, 64 tokens of width 128."""
    x = keras.Input((64, 128))
    return keras.Model(x, encoder_block(x, 4, 128, causal=True))


def lstm_classifier():
    """Two LSTMs over 28 rows of 28 pixels."""
    x = keras.Input((28, 28))
    return keras.Model(x, L.Dense(10)(L.LSTM(32)(L.LSTM(32, return_sequences=True)(x))))


def gru_classifier():
    """A bidirectional GRU over 28 rows of 28 pixels."""
    x = keras.Input((28, 28))
    return keras.Model(x, L.Dense(10)(L.Bidirectional(L.GRU(32))(x)))


def _double(y, width: int):
    for _ in range(2):
        y = L.ReLU()(L.BatchNormalization()(L.Conv2D(width, 3, padding="same")(y)))
    return y


def unet():
    """A U-Net of three levels with transposed convolutions."""
    x = keras.Input((64, 64, 3))
    first = _double(x, 16)
    second = _double(L.MaxPooling2D()(first), 32)
    y = _double(L.MaxPooling2D()(second), 64)
    y = _double(L.Concatenate()([L.Conv2DTranspose(32, 2, strides=2)(y), second]), 32)
    y = _double(L.Concatenate()([L.Conv2DTranspose(16, 2, strides=2)(y), first]), 16)
    return keras.Model(x, L.Conv2D(4, 1)(y))


def mlp_mixer():
    """An MLP-Mixer: 64 patches, 4 blocks of width 128."""
    x = keras.Input((64, 64, 3))
    y = L.Reshape((64, 128))(L.Conv2D(128, 8, strides=8)(x))
    for _ in range(4):
        z = L.Permute((2, 1))(L.LayerNormalization()(y))
        z = L.Dense(64)(L.Dense(128, activation="gelu")(z))
        y = y + L.Permute((2, 1))(z)
        z = L.LayerNormalization()(y)
        y = y + L.Dense(128)(L.Dense(256, activation="gelu")(z))
    return keras.Model(x, L.Dense(10)(L.GlobalAveragePooling1D()(y)))


def conv_1d():
    """Convolutions over a sequence of 256 samples."""
    x = keras.Input((256, 4))
    y = x
    for width in (16, 32, 64):
        y = L.ReLU()(L.BatchNormalization()(L.Conv1D(width, 5, strides=2, padding="same")(y)))
    return keras.Model(x, L.Dense(10)(L.GlobalAveragePooling1D()(y)))


def keyword_spotter():
    """A depthwise-separable network over 49 frames of 10 features, after Zhang et al. (2017)."""
    x = keras.Input((49, 10, 1))
    y = L.Conv2D(64, (10, 4), strides=2, padding="same", use_bias=False)(x)
    y = L.ReLU()(L.BatchNormalization()(y))
    for _ in range(4):
        y = L.ReLU()(L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same")(y)))
        y = L.ReLU()(L.BatchNormalization()(L.Conv2D(64, 1)(y)))
    return keras.Model(x, L.Dense(12)(L.GlobalAveragePooling2D()(L.Dropout(0.4)(y))))


def two_inputs():
    """An image and a vector in, one result."""
    image, vector = keras.Input((32, 32, 3)), keras.Input((16,))
    y = L.GlobalAveragePooling2D()(L.Conv2D(16, 3, activation="relu")(image))
    y = L.Concatenate()([y, L.Dense(16, activation="relu")(vector)])
    return keras.Model([image, vector], L.Dense(10)(y))


def two_outputs():
    """An image in, classes and a place out."""
    x = keras.Input((32, 32, 3))
    y = L.Conv2D(32, 3, activation="relu")(L.Conv2D(16, 3, activation="relu")(x))
    y = L.GlobalAveragePooling2D()(y)
    return keras.Model(x, [L.Dense(10)(y), L.Dense(4, activation="sigmoid")(y)])


BUILDERS = {each.__name__: each for each in (
    vit, bert, gpt_block, lstm_classifier, gru_classifier, unet, mlp_mixer, conv_1d,
    keyword_spotter, two_inputs, two_outputs)}  # fmt: skip
