"""Test pictures that need no file: a smooth scene and the ways to damage it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def make_scene(height: int = 128, width: int = 128) -> NDArray[np.uint8]:
    """Gradients, a disc and fine texture: (height, width, 3) uint8, the same every time."""
    y, x = np.mgrid[0:height, 0:width]
    disc = ((x - width / 2) ** 2 + (y - height / 2) ** 2) < (min(height, width) / 3) ** 2
    texture = np.random.default_rng(7).normal(0, 6, (height, width))
    red = 60 + 120 * x / width + 60 * disc
    green = 40 + 150 * y / height
    blue = 180 - 100 * disc
    scene = np.stack([red, green, blue], axis=-1) + texture[..., None]
    return scene.clip(0, 255).astype(np.uint8)


def blacken_tile(image: NDArray[np.uint8], row: int, column: int, edge: int) -> NDArray[np.uint8]:
    damaged = image.copy()
    damaged[row * edge : (row + 1) * edge, column * edge : (column + 1) * edge] = 0
    return damaged


def shift_right(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.roll(image, 1, axis=1)


def add_noise(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    noise = np.random.default_rng(1).normal(0, sigma, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def shuffle_pixels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    pixels = image.reshape(-1, 3)
    return np.random.default_rng(2).permutation(pixels).reshape(image.shape)
