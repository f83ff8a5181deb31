"""Sets without any fault that a check finds, for tests to plant one in."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

SIZE = (44, 56)
"""Height and width."""
CLASSES = ("cat", "dog")
COUNTS = {"labeled": 3, "unlabeled": 5, "validation": 3, "test": 3}
"""Images of each class; of unlabeled ones, in all."""

TINY: dict[str, Any] = {
    "rounds": {"top_fractions": [0.5, 1.0]},
    "supervised": {"steps": 40},
    "duration": {"steps": 20},
    "batch": {"size": 4, "labeled": 2},
    "augment": "none",
    "precision": "fp32",
}


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A smooth picture, which survives JPEG, unlike all of other seeds."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def class_folders(root: Path) -> Path:
    """Folders of two classes, and the config of a run on them beside them."""
    seed = 0
    for part, count in COUNTS.items():
        for name in [""] if part == "unlabeled" else CLASSES:
            for number in range(count):
                save(picture(seed), root / "data" / part / name / f"{number}.png")
                seed += 1
    return write_config(root, {"task": "classification", "data": {"name": "folder", "root": str(root / "data")}})


def masked(root: Path) -> Path:
    """Seven images of two sizes, five of them with masks, one to be scored on, and the config of a run on them."""
    for number in range(7):
        size = SIZE if number % 2 else (SIZE[0], SIZE[1] - 8)
        save(picture(number, size), root / "data" / "images" / f"{number}.png")
        if number < 5:
            mask = np.arange(size[0] * size[1]).reshape(size) * 3 // (size[0] * size[1])
            save(Image.fromarray(mask.astype(np.uint8)), root / "data" / "masks" / f"{number}.png")
    (root / "data" / "classes.txt").write_text("sky\nsea\nsand\n")
    (root / "data" / "test.txt").write_text("4\n")
    network = {"name": "small_unet"}
    changes = {
        "task": "segmentation",
        "data": {"name": "folder", "root": str(root / "data")},
        "networks": {"a": network, "b": network},
        "crop": {"size": [24, 24]},
        "validation": {"source": "none"},
        "rounds": {"top_fractions": [0.5], "dms_share": 0.8},
    }
    return write_config(root, changes)


def write_config(root: Path, changes: dict[str, Any]) -> Path:
    path = root / "mine.yaml"
    path.write_text(yaml.safe_dump(TINY | changes, allow_unicode=True))
    return path
