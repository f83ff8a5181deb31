"""Image folders of a few pixels, for tests."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (6, 8)
"""Height and width."""


def photo(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def mask(seed: int, size: tuple[int, int] = SIZE, *, values: tuple[int, ...] = (0, 1, 2, 255)) -> np.ndarray:
    """Each value at least once."""
    drawn = np.random.default_rng(seed).choice(values, size).astype(np.uint8)
    drawn.ravel()[: len(values)] = values
    return drawn


def save(path: Path, array: np.ndarray, *, palette: list[int] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette(palette)
    image.save(path)
    return path


def write_lines(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def user_folder(root: Path, *, labeled: int = 3, unlabeled: int = 2) -> Path:
    """Images 00, 01, ..., the first of which have masks of the classes cat, dog and hat."""
    for number in range(labeled + unlabeled):
        save(root / f"images/{number:02d}.png", photo(number))
        if number < labeled:
            save(root / f"masks/{number:02d}.png", mask(number))
    write_lines(root / "classes.txt", "cat", "dog", "hat")
    return root
