"""Which layout a folder has: guessed from names, a few headers and small files; nothing is decoded."""

import glob
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from dmt.data.class_folders import FILE_SUFFIXES, bare_classes
from dmt.data.class_lists import CLASS_LIST
from dmt.data.image_files import IMAGE_SUFFIXES, MASK_SUFFIXES, walk_files
from dmt.data.manifest import TABLE_SUFFIXES, read_manifest
from dmt.data.problems import gathered
from dmt.data.shards import tar_members
from dmt.errors import DataError
from dmt.models.request import TaskName

KNOWN = {
    "class folders": "FOLDER/labeled/CLASS and FOLDER/unlabeled (or FOLDER/CLASS)",
    "images and masks": "FOLDER/images and FOLDER/masks",
    "a table": "a .csv, .tsv, .jsonl or .parquet file with the column `path`, and `label` and `split`",
    "COCO": "FOLDER/images and FOLDER/annotations.json",
    "PASCAL VOC": "FOLDER/JPEGImages, SegmentationClass and ImageSets/Segmentation",
    "Cityscapes": "FOLDER/leftImg8bit and FOLDER/gtFine",
    "Hugging Face": "a folder that save_to_disk wrote",
}
"""Every layout, and what it looks like."""

_MASK_COLUMNS = ("mask", "annotation", "segmentation", "label")
_LABELS_TRIED = 200
_LARGEST_JSON = 2**28


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A way to read a folder.

    Attributes:
        title: one of `KNOWN`.
        task: classification or segmentation.
        data: the `data` section that reads it.
        why: what it was told by.
        hints: what else the user should know, sentences.
    """

    title: str
    task: TaskName
    data: dict[str, Any]
    why: str
    hints: tuple[str, ...] = field(default=())


def layouts_of(path: Path) -> list[Layout]:
    """Every layout that a folder, or a table, may have; the likeliest first."""
    return list(chain.from_iterable(guess(path) for guess in _GUESSES))


def no_layout(path: Path, task: str | None) -> DataError:
    """What to say of a folder that fits nothing."""
    if not path.exists():
        return DataError(f"There is no {path}. Name the folder of your images, or a table of them.")
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        try:
            read_manifest(path, allow_outside=True)
        except DataError as error:
            return error
    known = "; ".join(f"{title}: {look}" for title, look in KNOWN.items())
    what = f" for {task}" if task else ""
    return DataError(f"{path} has none of the layouts{what} that dmt knows ({known}).{_bare_images(path)}")


def _bare_images(path: Path) -> str:
    """A way out for the folder that holds images and nothing that tells of them."""
    if not path.is_dir() or next(walk_files(path, FILE_SUFFIXES), None) is None:
        return " It holds no image."
    return (
        f" It holds images without labels: move some of each class into {path / 'labeled' / 'CLASS'} and the others "
        f"into {path / 'unlabeled'}; or, for masks, all into {path / 'images'} and the masks, by the same names, into "
        f"{path / 'masks'}."
    )


def _voc(path: Path) -> Iterator[Layout]:
    needed = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation/val.txt")
    for place in (path / "VOCdevkit" / "VOC2012", path / "VOC2012", path):
        if all((place / name).exists() for name in needed):
            yield Layout(
                title="PASCAL VOC",
                task="segmentation",
                data={"name": "voc", "root": str(path)},
                why=f"there are {', '.join(needed)}",
                hints=("The images of val.txt are the reported part; the classes are VOC's 21.",),
            )
            return


def _cityscapes(path: Path) -> Iterator[Layout]:
    if (path / "leftImg8bit").is_dir() and (path / "gtFine").is_dir():
        yield Layout(
            title="Cityscapes",
            task="segmentation",
            data={"name": "cityscapes", "root": str(path)},
            why="there are leftImg8bit and gtFine",
            hints=("The images of val are the reported part; the classes are Cityscapes' 19.",),
        )


def _hugging_face(path: Path) -> Iterator[Layout]:
    infos = [path / "dataset_info.json", *sorted(path.glob("*/dataset_info.json"))] if path.is_dir() else []
    if not (path / "dataset_dict.json").is_file() and not (path / "state.json").is_file():
        return
    features = next((_json(info).get("features") for info in infos if info.is_file()), None) or {}
    kinds = {name: one.get("_type") for name, one in features.items() if isinstance(one, dict)}
    masks = [name for name in _MASK_COLUMNS if kinds.get(name) == "Image"]
    data = {"name": "huggingface", "root": str(path)}
    why = f"save_to_disk wrote it, with the columns {', '.join(features) or 'unknown'}"
    if masks:
        yield Layout(title="Hugging Face", task="segmentation", data=data, why=why)
    if "label" in features and kinds.get("label") != "Image":
        yield Layout(title="Hugging Face", task="classification", data=data, why=why)


def _coco(path: Path) -> Iterator[Layout]:
    files = [path / "annotations.json"]
    files += sorted(path.glob("*.json")) + sorted(path.glob("annotations/*.json")) if path.is_dir() else []
    for file in dict.fromkeys(files):
        content = _json(file)
        if not {"images", "annotations", "categories"} <= content.keys():
            continue
        name = file.relative_to(path).as_posix()
        others = [other.name for other in files if other not in (file, path / "annotations.json")]
        yield Layout(
            title="COCO",
            task="segmentation",
            data={"name": "coco", "root": str(path)} | ({} if name == "annotations.json" else {"annotations": name}),
            why=f"{name} has images, annotations and categories",
            hints=(f"Of several such files this one was taken; others: {', '.join(others)}.",) if others else (),
        )
        return


def _mask_folder(path: Path) -> Iterator[Layout]:
    if not ((path / "images").is_dir() and (path / "masks").is_dir()):
        return
    lists = [name for name in _LISTS if (path / name).is_file()]
    told = f", and {', '.join(lists)}" if lists else ""
    hints = [
        f"The images of images/{part} are training images like all others; to set them aside, name them in "
        f"{path / names[0]}, a line each: {part}/NAME."
        for part, names in _LIST_OF.items()
        if (path / "images" / part).is_dir() and not any((path / name).is_file() for name in names)
    ]
    yield Layout(
        title="images and masks",
        task="segmentation",
        data={"name": "folder", "root": str(path), **_labeled_list(path)},
        why=f"there are images and masks{told}",
        hints=tuple(hints),
    )


_LIST_OF = {
    "val": ("val.txt", "validation.txt"),
    "validation": ("val.txt", "validation.txt"),
    "test": ("test.txt",),
}
"""Of folders below `images`, the lists that would set theirs aside."""

_LISTS = (CLASS_LIST, "labeled.txt", "unlabeled.txt", "train.txt", "val.txt", "validation.txt", "test.txt")


def _labeled_list(path: Path) -> dict[str, str]:
    """`train.txt`, which many folders have, as the list of labeled images where it says more than the masks do.

    With the folder before it: a list of that name in the working folder would be taken first.
    """
    if not (path / "train.txt").is_file() or (path / "labeled.txt").is_file():
        return {}
    masked = {mask.relative_to(path / "masks").with_suffix("").as_posix() for mask in _masks_below(path)}
    aside = set(chain.from_iterable(_lines(path / name) for name in ("val.txt", "validation.txt", "test.txt")))
    listed = _lines(path / "train.txt")
    # All of them with masks: a list of labeled images. Some without: a list of whatever is for training.
    return {"labeled": str(path / "train.txt")} if listed and listed <= masked and listed != masked - aside else {}


def _class_folders(path: Path) -> Iterator[Layout]:
    bare = bare_classes(path)
    top = next((name for name in ("labeled", "train") if (path / name).is_dir()), None)
    if not bare and top is None:
        return
    why = (
        f"there are folders in {path.resolve().name}, one a class"
        if top is None
        else f"there is {top}, with a folder a class"
    )
    shards = _shards(path)
    data = {"name": "folder", "root": str(path)} | ({"shards": shards} if shards else {})
    hints = []
    if not (path / "unlabeled").is_dir() and not shards:
        hints.append(f"Unlabeled images go into {path / 'unlabeled'}.")
    if not (path / "test").is_dir():
        hints.append(f"Images whose figures are to be reported go into {path / 'test' / 'CLASS'}.")
    yield Layout(title="class folders", task="classification", data=data, why=why, hints=tuple(hints))


def _shards(path: Path) -> str | None:
    """The pattern of tar files with images, from the folder on: others in the working folder would be taken first."""
    for pattern in ("*.tar", "shards/*.tar"):
        shards = sorted(path.glob(pattern))
        with suppress(DataError):  # a broken one is told of when the data are loaded
            if not any(map(tar_members, shards)):
                continue
        return f"{glob.escape(str(path))}/{pattern}"
    return None


def _tables(path: Path) -> Iterator[Layout]:
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in found:
        if file.suffix.lower() in TABLE_SUFFIXES and file.is_file():
            yield from _table(file)


def _table(file: Path) -> Iterator[Layout]:
    try:
        with gathered():  # wrong rows are told of when the data are loaded; here the columns count
            table = read_manifest(file, allow_outside=True)
    except DataError:
        return
    outside = any(path.startswith("/") or ".." in Path(path).parts for path in table.paths)
    data = {"name": "manifest", "root": str(file)} | ({"allow_outside": True} if outside else {})
    labels = list(islice((label for label in table.labels if label is not None), _LABELS_TRIED))
    are_masks = bool(labels) and all(Path(label).suffix.lower() in MASK_SUFFIXES for label in labels)
    yield Layout(
        title="a table",
        task="segmentation" if are_masks else "classification",
        data=data,
        why=f"{file.name} has a column `path`, and its labels {'name masks' if are_masks else 'are words or numbers'}",
        hints=("It names files outside its folder; allow_outside lets it.",) if outside else (),
    )


_GUESSES: tuple[Callable[[Path], Iterator[Layout]], ...] = (
    _voc,
    _cityscapes,
    _hugging_face,
    _coco,
    _mask_folder,
    _class_folders,
    _tables,
)


def _masks_below(path: Path) -> Iterator[Path]:
    return walk_files(path / "masks", MASK_SUFFIXES)


def _lines(file: Path) -> set[str]:
    """The names in a list, without suffix; none where there is no list."""
    try:
        lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError):
        return set()
    paths = [Path(line) for line in lines if line]
    return {(path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path).as_posix() for path in paths}


def _json(file: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where it is none, or so large that it is no list of annotations."""
    try:
        if file.stat().st_size > _LARGEST_JSON:
            return {}
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
