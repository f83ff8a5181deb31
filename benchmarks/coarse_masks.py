"""A copy of a folder of masks as a hurried annotator would have drawn them (for the paper's Table 6).

    python benchmarks/coarse_masks.py CAMVID --exact runs/camvid/splits/labeled.txt --output coarse

Every region becomes a polygon of few corners, and small ones are left out; larger regions are drawn first. Masks that
`--exact` names, and those of val.txt, stay as they are. Then `dmt train camvid-46 data.root=coarse method=oracle`
learns from few exact masks and many coarse ones. Prints how much of each class coarse masks get right (intersection
over union, percent, of the pixels that are drawn), and draws it with `--picture`. Needs opencv-python-headless, and
matplotlib for the picture.
"""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from dmt.metrics import confusion_matrix, intersection_over_union, mean_iou

VOID = 255


def main(arguments: Sequence[str] | None = None) -> None:
    """Copy, coarsen, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--exact", type=Path, required=True, help="a text file, one image's key a line")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tolerance", type=float, default=5.0, help="pixels that a corner that is left out may be off")
    parser.add_argument("--least", type=int, default=150, help="area within the smallest outline that is drawn")
    parser.add_argument("--picture", type=Path, help="where to draw what the coarse masks get right")
    options = parser.parse_args(arguments)
    names = _lines(options.data / "classes.txt")
    keys, exact = _lines(options.data / "train.txt"), set(_lines(options.exact))
    if unknown := exact - set(keys):
        raise SystemExit(f"{options.exact} names {min(unknown)}, which is no image of train.txt.")
    shutil.copytree(options.data, options.output)
    confusion = torch.zeros(len(names), len(names), dtype=torch.int64)
    for key in (key for key in keys if key not in exact):
        path = options.output / "masks" / f"{key}.png"
        confusion += _redraw(path, tolerance=options.tolerance, least=options.least, num_classes=len(names))
    shares = dict(zip(names, intersection_over_union(confusion).tolist(), strict=True))
    for name, share in shares.items():
        print(f"{name}: {share:.1f}")
    print(f"mean: {mean_iou(confusion):.1f}, {torch.trace(confusion) / confusion.sum():.1%} of pixels")
    if options.picture is not None:
        _draw(shares, options.picture)


def _draw(shares: Mapping[str, float], path: Path) -> None:
    figure = Figure(figsize=(6.0, 3.2), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(shares), list(shares.values()))
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set(xlim=(0, 108), xlabel="intersection over union with the exact masks, percent")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _redraw(path: Path, *, tolerance: float, least: int, num_classes: int) -> torch.Tensor:
    """Coarsen one mask file; the confusion of what it was and what it is, void left out."""
    with Image.open(path) as image:
        image.load()
    mask = np.asarray(image)
    drawn = coarse(mask, tolerance=tolerance, least=least)
    redrawn = Image.fromarray(drawn, mode="P")
    redrawn.putpalette(image.getpalette() or [])
    redrawn.save(path)
    before, after = (torch.from_numpy(one.astype(np.int64)).flatten() for one in (mask, drawn))
    counts = (before != VOID) & (after != VOID)
    return confusion_matrix(after[counts], before[counts], num_classes=num_classes)


def coarse(mask: np.ndarray, *, tolerance: float, least: int) -> np.ndarray:
    """Regions as polygons, the largest first; what no polygon covers, and what was void, is void.

    Args:
        mask: `(H, W)` uint8 classes, 255 = void.
        tolerance: pixels that an outline may be off.
        least: pixels within the smallest outline that is drawn.
    """
    regions: list[tuple[int, int, np.ndarray]] = []
    for number in np.unique(mask[mask != VOID]).tolist():
        outlines, _ = cv2.findContours((mask == number).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        regions += [(int(cv2.contourArea(outline)), number, outline) for outline in outlines]
    drawn = np.full_like(mask, VOID)
    for area, number, outline in sorted(regions, key=lambda region: -region[0]):
        if area >= least:
            cv2.fillPoly(drawn, [cv2.approxPolyDP(outline, tolerance, closed=True)], number)
    return np.where(mask == VOID, VOID, drawn).astype(np.uint8)


if __name__ == "__main__":
    main()
