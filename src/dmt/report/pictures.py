"""RUN/pictures: what the networks of a segmentation run see in some images."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dmt.files import write_atomic
from dmt.report.gallery import open_gallery
from dmt.report.sheets import Block, Key, draw_sheet

FOLDER = "pictures"
OVERVIEW = "overview.png"

_OVERVIEW_BOX, _ROW_BOX = 256, 480
_DESCRIPTION = "Description"
"""The key that PNG has for what an image shows."""


def write_pictures(run_folder: Path) -> list[Path]:
    """Draw some test images and some unlabeled ones of a finished segmentation run, spread evenly over their parts.

    `1.png`, `2.png`, ... show an image each: the truth where it is known, what a network says that knows the labels
    alone, and what the final one says; of unlabeled images also the pseudo labels that it was taught and how much each
    pixel's counts when its round is done. `overview.png` has them all. True labels of unlabeled images are looked at
    here, when nothing is trained any more.

    Returns:
        The files, the overview last; none where there is no image to show.

    Raises:
        RunFolderError: the folder holds no readable result.json.
        ConfigError, DataError, CheckpointError: the config, the data or the weights are no longer what they were.
    """
    gallery = open_gallery(run_folder)
    blocks = gallery.blocks()
    if not blocks:
        return []
    folder = run_folder / FOLDER
    alone = [Block(title=row.name, rows=[row]) for block in blocks for row in block.rows]
    paths = [folder / f"{number}.png" for number in range(1, len(alone) + 1)]
    for path, block in zip(paths, alone, strict=True):
        _write(path, [block], gallery.keys([block]), box=_ROW_BOX)
    _write(folder / OVERVIEW, blocks, gallery.keys(blocks), box=_OVERVIEW_BOX)
    return [*paths, folder / OVERVIEW]


def read_overview(run_folder: Path) -> tuple[bytes, str] | None:
    """The sheet of all pictures and what it shows, in words; None where there is none."""
    try:
        content = (run_folder / FOLDER / OVERVIEW).read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            return content, str(image.info.get(_DESCRIPTION, "Images, true classes and predictions."))
    except (OSError, SyntaxError, ValueError):
        return None


def _write(path: Path, blocks: Sequence[Block], keys: Sequence[Key], *, box: int) -> None:
    text = PngInfo()
    text.add_itxt(_DESCRIPTION, _description(blocks))
    buffer = io.BytesIO()
    draw_sheet(blocks, keys, box=box).save(buffer, "PNG", pnginfo=text)
    write_atomic(path, lambda temporary: temporary.write_bytes(buffer.getvalue()))


def _description(blocks: Sequence[Block]) -> str:
    """The sheet in words."""
    parts = [f"{block.title}: {', '.join(panel.caption for panel in block.rows[0].panels)}." for block in blocks]
    return " ".join(["Rows of pictures.", *parts])
