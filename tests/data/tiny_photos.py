"""Handwritten digits 0, 1, 2 as image files in every layout that a reader knows, the same images in the same order."""

import csv
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet
from sklearn.datasets import load_digits

CLASSES = ("eight", "one", "zero")
DIGITS = (8, 1, 0)
COUNTS = {"labeled": 3, "unlabeled": 8, "test": 4}
"""Of each class."""


@dataclass(frozen=True)
class Photo:
    """An image, the part that it is in and its class, which only some layouts tell."""

    name: str
    part: str
    label: str
    pixels: np.ndarray

    @property
    def given_label(self) -> str | None:
        return None if self.part == "unlabeled" else self.label

    @property
    def split(self) -> str:
        return "test" if self.part == "test" else "train"


def photos() -> list[Photo]:
    """In the order in which class folders are read: labeled ones by class, test, then unlabeled ones."""
    bunch = load_digits()
    found = []
    for part, start in (("labeled", 0), ("test", 3), ("unlabeled", 7)):
        for label, digit in zip(CLASSES, DIGITS, strict=True):
            members = np.flatnonzero(bunch.target == digit)[start : start + COUNTS[part]]
            for number, member in enumerate(members):
                gray = np.rint(bunch.images[member] * (255 / 16)).astype(np.uint8)
                folder = part if part == "unlabeled" else f"{part}/{label}"
                name = f"{folder}/{label[0] if part == 'unlabeled' else ''}{number:02d}.png"
                found.append(Photo(name, part, label, np.stack([gray, gray, 255 - gray], axis=2)))
    return found


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def write_images(root: Path) -> None:
    for photo in photos():
        path = root / photo.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(photo.pixels))


def rows() -> list[dict[str, str]]:
    return [{"path": one.name, "label": one.given_label or "", "split": one.split} for one in photos()]


def _folder(root: Path) -> dict[str, Any]:
    write_images(root)
    return {"name": "folder", "root": str(root)}


def _manifest(suffix: str) -> Callable[[Path], dict[str, Any]]:
    def write(root: Path) -> dict[str, Any]:
        write_images(root)
        file = root / f"table{suffix}"
        write_table(file, rows())
        return {"name": "manifest", "root": str(file)}

    return write


def write_table(file: Path, table: list[dict[str, str]]) -> None:
    if file.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(table), file)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in table))
    else:
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(table[0]), delimiter="\t" if file.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(table)


def _hugging_face(root: Path) -> dict[str, Any]:
    import datasets

    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=list(CLASSES)))
    tables = {}
    for split in ("train", "unlabeled", "test"):
        members = [one for one in photos() if split == {"labeled": "train"}.get(one.part, one.part)]
        table = {
            "image": [{"bytes": png(one.pixels), "path": one.name} for one in members],
            "label": [CLASSES.index(one.label) for one in members],
        }
        tables[split] = datasets.Dataset.from_dict(table, features=features)
    datasets.DatasetDict(tables).save_to_disk(str(root))
    return {"name": "huggingface", "root": str(root)}


def _shards(root: Path) -> dict[str, Any]:
    write_images(root)
    members = [photo for photo in photos() if photo.part == "unlabeled"]
    for number, chosen in enumerate((members[:10], members[10:])):
        with tarfile.open(root / f"shard-{number}.tar", "w") as tar:
            for photo in chosen:
                for name, content in ((photo.name, png(photo.pixels)), (f"{photo.name[:-3]}cls", b"9")):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
                (root / photo.name).unlink()
    return {"name": "folder", "root": str(root), "shards": "shard-*.tar"}


def _bands(root: Path) -> dict[str, Any]:
    for photo in photos():
        path = (root / photo.name).with_suffix(".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, photo.pixels.astype(np.uint16) * 100)
    return {"name": "folder", "root": str(root), "value_range": [0.0, 25500.0]}


LAYOUTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "class folders": _folder,
    "CSV": _manifest(".csv"),
    "TSV": _manifest(".tsv"),
    "JSON lines": _manifest(".jsonl"),
    "Parquet": _manifest(".parquet"),
    "Hugging Face": _hugging_face,
    "tar shards": _shards,
    "arrays of 16 bits": _bands,
}
"""A name -> writes the layout into a folder and returns the `data` section that reads it."""
