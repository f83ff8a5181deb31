"""A user's folder of images and masks, small enough for tests."""

from pathlib import Path

import numpy as np
from PIL import Image

FOLDER_CONFIG = """task: segmentation
data: {name: folder, root: data}
validation: {source: none}
networks: {a: {name: small_unet}, b: {name: small_unet}}
crop: {size: [16, 16]}
rounds: {top_fractions: [1.0]}
supervised: {steps: 2}
duration: {steps: 2}
batch: {size: 2, labeled: 1}
precision: fp32
"""
"""A run on it, of moments; without validation labels."""


def write_folder(root: Path) -> None:
    """Six images of three bands in two sizes, four of them with masks of three classes."""
    random = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(6):
        height, width = (20, 28) if number % 2 else (24, 20)
        mask = np.repeat(np.arange(3, dtype=np.uint8), 10)[None, :width].repeat(height, 0)
        image = (random.random((height, width, 3)) * 60 + 60 * mask[:, :, None]).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"{number}.png")
        if number < 4:
            Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    (root / "classes.txt").write_text("left\nmiddle\nright\n")
    (root / "labeled.txt").write_text("0\n1\n2\n")
    (root / "test.txt").write_text("3\n")
