"""What segmentation's store of pseudo labels costs: bytes a pixel, and milliseconds to write and to read an image.

    python benchmarks/pseudo_masks.py                                        # smooth random logits, upsampled 16 times
    python benchmarks/pseudo_masks.py --store RUN/rounds/1/a/pseudo_labels   # what a teacher said

Prints a Markdown table. `store` is the store itself, with checksums and a sync of every file; the other rows write the
same masks without either. The authors keep two float32 a pixel; percentages are of their bytes and milliseconds. Files
are read from the operating system's cache, which flatters the large ones.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from dmt.data.pseudo_labels import Provenance
from dmt.data.pseudo_masks import MaskStore, read_masks
from dmt.selection import confidence_code
from dmt.types import Prediction, PseudoSpec

Masks = tuple[np.ndarray, np.ndarray]
"""Labels uint8 and codes uint16 of an image, both (H, W)."""

AUTHORS = "npy float32 x 2 (authors)"


@dataclass(frozen=True)
class Format:
    """How an image's masks are kept: `write` makes files that begin with a path, `read` reads them."""

    write: Callable[[Path, Masks], object]
    read: Callable[[Path], object]


@dataclass(frozen=True)
class Cost:
    """Of an average image."""

    label_bytes: float
    code_bytes: float
    write_ms: float
    read_ms: float


def main() -> None:
    """Measure every format on the same masks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="a folder with labels/ and codes/")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--size", type=int, nargs=2, default=(180, 240), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--noise", type=float, default=0.02, help="standard deviation, in logits")
    options = parser.parse_args()
    masks = list(_stored(options.store, options.images) if options.store else _simulated(options))
    pixels = sum(label.size for label, _ in masks) / len(masks)
    costs = {name: _measure(form, masks) for name, form in FORMATS.items()}
    costs["store"] = _measure_store(masks)
    print(f"{len(masks)} images, {pixels:.0f} pixels on average, {torch.get_num_threads()} threads\n")
    print("\n".join(_table(costs, pixels)))


def _simulated(options: argparse.Namespace) -> Iterator[Masks]:
    """11 classes, sharp where the random logits of one class stand out, as a trained network's are."""
    height, width = options.size
    random = torch.Generator().manual_seed(0)
    for _ in range(options.images):
        coarse = 3 * torch.randn(1, 11, round(height / 16) + 1, width // 16, generator=random)
        logits = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
        logits += options.noise * torch.randn(logits.shape, generator=random)
        yield logits.argmax(dim=1)[0].numpy().astype(np.uint8), confidence_code(logits)[0].numpy().astype(np.uint16)


def _stored(folder: Path, count: int) -> Iterator[Masks]:
    paths = sorted((folder / "labels").rglob("*.png"))
    for path in paths[:: max(1, len(paths) // count)][:count]:
        label, code = read_masks(folder, str(path.relative_to(folder / "labels").with_suffix("")))
        yield label.numpy().astype(np.uint8), code.numpy().astype(np.uint16)


def _png(level: int) -> Format:
    def write(path: Path, masks: Masks) -> None:
        label = Image.fromarray(masks[0])
        label.putpalette(list(range(256)) * 3)
        label.save(path.with_suffix(".label"), "PNG", compress_level=level)
        Image.fromarray(masks[1]).save(path.with_suffix(".code"), "PNG", compress_level=level)

    return Format(write, lambda path: [np.array(Image.open(path.with_suffix(end))) for end in (".label", ".code")])


def _write_npy(path: Path, masks: Masks) -> None:
    for mask, end in zip(masks, (".label", ".code"), strict=True):
        with path.with_suffix(end).open("wb") as file:
            np.save(file, mask)


def _write_authors(path: Path, masks: Masks) -> None:
    with path.with_suffix(".code").open("wb") as file:
        np.save(file, np.stack(masks, axis=-1).astype(np.float32))


FORMATS = {
    **{f"png level {level}": _png(level) for level in (1, 3, 6)},
    "npy uint8 + uint16": Format(
        _write_npy, lambda path: [np.load(path.with_suffix(end)) for end in (".label", ".code")]
    ),
    AUTHORS: Format(_write_authors, lambda path: np.load(path.with_suffix(".code"))),
}


def _measure(form: Format, masks: list[Masks]) -> Cost:
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / str(number) for number in range(len(masks))]
        writing = _fastest(lambda: [form.write(path, one) for path, one in zip(paths, masks, strict=True)])
        reading = _fastest(lambda: [form.read(path) for path in paths])
        sizes = [sum(path.stat().st_size for path in Path(name).glob(f"*{end}")) for end in (".label", ".code")]
    return Cost(*(value / len(masks) for value in (*sizes, writing, reading)))


def _measure_store(masks: list[Masks]) -> Cost:
    predictions = [
        Prediction(label=torch.from_numpy(label[None].astype(np.int64)), code=torch.from_numpy(code[None].astype("i4")))
        for label, code in masks
    ]
    spec = PseudoSpec(teacher="a", teacher_round=0, top_fraction=0.2, selection="per_class")
    provenance = Provenance(teacher="a", teacher_hash="", config_hash="")
    with tempfile.TemporaryDirectory() as name:
        folder, keys = Path(name), [str(number) for number in range(len(masks))]
        store = MaskStore(folder, keys, provenance, num_classes=21, palette=None)
        start = time.perf_counter()
        for number, prediction in enumerate(predictions):
            store.add([number], prediction)
        writing = 1000 * (time.perf_counter() - start)
        store.finish(list, is_main=True)
        labels = store.select(spec, class_shares=())
        reading = _fastest(lambda: [labels.read([number]) for number in range(len(masks))])
        sizes = [sum(path.stat().st_size for path in (folder / kind).iterdir()) for kind in ("labels", "codes")]
    return Cost(*(value / len(masks) for value in (*sizes, writing, reading)))


def _fastest(work: Callable[[], object], repeats: int = 5) -> float:
    """Milliseconds of the fastest of some repeats."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def _table(costs: dict[str, Cost], pixels: float) -> Iterator[str]:
    yield "| kept as | bytes a pixel | of them labels | % | write, ms | % | read, ms | % |"
    yield "|---|---|---|---|---|---|---|---|"
    authors = costs[AUTHORS]
    for name, cost in costs.items():
        total = cost.label_bytes + cost.code_bytes
        cells = [
            f"{total / pixels:.2f}",
            f"{cost.label_bytes / pixels:.2f}",
            f"{total / authors.code_bytes:.0%}",
            f"{cost.write_ms:.2f}",
            f"{cost.write_ms / authors.write_ms:.0%}",
            f"{cost.read_ms:.2f}",
            f"{cost.read_ms / authors.read_ms:.0%}",
        ]
        yield f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
