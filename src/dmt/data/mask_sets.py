"""What all data sets of photos with masks share: folders, lists, complete pairs of files."""

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from dmt.config_sections import DataConfig
from dmt.data.image_files import IMAGE_SUFFIXES, MASK_SUFFIXES, list_files
from dmt.data.mask_sources import MaskFile
from dmt.data.masked_images import ImageFile
from dmt.data.reference_splits import reference_order
from dmt.data.split_files import read_lines
from dmt.errors import ConfigError, DataError

PHOTO_MEAN = (0.485, 0.456, 0.406)
PHOTO_STD = (0.229, 0.224, 0.225)
"""Of ImageNet's photos, in RGB."""


def root_folder(config: DataConfig) -> Path:
    """`data.root`.

    Raises:
        ConfigError: it is not given.
        DataError: it is not there.
    """
    if config.root is None:
        raise ConfigError(f"data.name={config.name} needs data.root=FOLDER, the folder of its files.")
    root = Path(config.root).expanduser()
    if not root.exists():
        place = "" if root.is_absolute() else " below the working folder"
        raise DataError(f"data.root is {config.root}, and there is no such file or folder{place}.")
    return root


def find_folder(places: Sequence[Path], needed: Sequence[str], *, what: str) -> Path:
    """The first of some folders that holds all that is needed.

    Args:
        places: folders to look at, the one that the user named last.
        needed: files and folders, relative to each of them.
        what: the data set, for the message.

    Raises:
        DataError: there is none.
    """
    found = next((place for place in places if all((place / name).exists() for name in needed)), None)
    if found is None:
        lacking = next(name for name in needed if not (places[-1] / name).exists())
        raise DataError(
            f"data.root is {places[-1]}, which does not hold {what}: there is no {lacking}. It needs "
            f"{', '.join(needed)}."
        )
    return found


def listed_files(path: Path, images: Path, masks: Sequence[Path]) -> tuple[ImageFile, ...]:
    """The images that a published list names, in its order, with their masks.

    Args:
        path: a name a line; of a line that names files, the first one's name counts.
        images: their folder.
        masks: folders of masks by the same names; an earlier one wins.

    Raises:
        DataError: the list cannot be read or is empty, or names an image twice or one whose files are missing.
    """
    keys = _read_names(path)
    image_of = list_files(images, IMAGE_SUFFIXES)
    mask_of = {key: mask for folder in reversed(masks) for key, mask in list_files(folder, MASK_SUFFIXES).items()}
    require_files(keys, image_of, source=path, folder=images, what="image")
    require_files(keys, mask_of, source=path, folder=masks[0], what="mask")
    return tuple(ImageFile(key, image_of[key], MaskFile(mask_of[key])) for key in keys)


def require_files(keys: Sequence[str], found: Collection[str], *, source: str | Path, folder: Path, what: str) -> None:
    """Refuse names without a file.

    Args:
        keys: names that need one.
        found: names that have one.
        source: who asks for them, for the message.
        folder: where the files should be.
        what: what they are.

    Raises:
        DataError: with the first name, and how many there are.
    """
    missing = [key for key in keys if key not in found]
    if missing:
        more = "" if len(missing) == 1 else f", nor for {len(missing) - 1} more of its {len(keys)}"
        raise DataError(f"{source} has {missing[0]!r}, but {folder} has no {what} for it{more}.")


def authors_order(
    num_images: int, *, published: int, folder: Path, hint: str = ""
) -> Callable[[int], Sequence[int] | None] | None:
    """The authors' splits where all images of the published training list are there; otherwise None, and a warning."""
    if num_images == published:
        return partial(reference_order, num_images)
    warnings.warn(
        f"{folder} holds {num_images:,} training images, not the usual {published:,}: the authors' splits cannot be "
        f"drawn, and figures do not compare with the paper's.{hint}",
        UserWarning,
        stacklevel=2,
    )
    return None


def _read_names(path: Path) -> list[str]:
    names = [_name(line.split()[0]) for _, line in read_lines(path)]
    if not names:
        raise DataError(f"{path} names no image. Get the file again.")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(f"{path} names {name!r} {count} times. Get the file again.")
    return names


def _name(word: str) -> str:
    path = PurePosixPath(word)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
