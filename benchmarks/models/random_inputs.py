"""Seeded random inputs that behave like images and like token embeddings, not like white noise."""

import numpy as np


def images(count: int, size: int = 224, seed: int = 0, channels: int = 3) -> np.ndarray:
    """Smooth random images, f32[count,size,size,channels], near mean 0 and standard deviation 1.

    Noise at octaves of resolution, each half as strong as the coarser one, gives the falling
    spectrum of photographs; brightness, contrast and tint differ from image to image.
    """
    rng = np.random.default_rng([seed, size, channels])
    total = np.zeros((count, size, size, channels), np.float32)
    cells, strength = 2, 1.0
    while cells <= size:
        coarse = rng.standard_normal((count, cells, cells, channels), np.float32)
        total += strength * _enlarge(coarse, size)
        cells, strength = cells * 2, strength / 2
    total /= total.std(axis=(1, 2, 3), keepdims=True)
    contrast = rng.uniform(0.5, 1.2, (count, 1, 1, 1)).astype(np.float32)
    tint = 0.5 * rng.standard_normal((count, 1, 1, channels), np.float32)
    return total * contrast + tint


def tokens(count: int, length: int = 128, width: int = 768, seed: int = 0) -> np.ndarray:
    """Embedded random sentences, f32[count,length,width]: word plus position, layer-normalised.

    Words come from one fixed vocabulary with frequencies falling as 1/rank, so that different seeds
    are different sentences of the same language.
    """
    language = np.random.default_rng(width)
    words = language.standard_normal((1000, width), np.float32)
    positions = 0.5 * language.standard_normal((length, width), np.float32)
    frequency = 1.0 / np.arange(1, len(words) + 1)
    chosen = np.random.default_rng([seed, length, width]).choice(
        len(words), size=(count, length), p=frequency / frequency.sum()
    )
    x = words[chosen] + positions
    return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)


def _enlarge(coarse: np.ndarray, size: int) -> np.ndarray:
    """Bilinear interpolation of [n,cells,cells,channels] to [n,size,size,channels]."""
    cells = coarse.shape[1]
    centre = (np.arange(size, dtype=np.float32) + 0.5) * cells / size - 0.5
    nearness = 1.0 - np.abs(np.clip(centre, 0, cells - 1)[:, None] - np.arange(cells))
    weights = np.maximum(nearness, 0.0).astype(np.float32)
    rows = np.tensordot(coarse, weights, axes=([1], [1]))
    both = np.tensordot(rows, weights, axes=([1], [1]))
    return np.moveaxis(both, 1, 3)
