"""The classes of one's own masks: names, and colors where the masks are in RGB."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dmt.config_sections import DataConfig
from dmt.data.mask_coding import MAX_CLASSES, Color
from dmt.data.split_files import find_list, read_lines
from dmt.errors import DataError
from dmt.types import IGNORE_INDEX

CLASS_LIST = "classes.txt"
IGNORED = "ignore"
"""In a list with colors, the name of what is no class."""


@dataclass(frozen=True, kw_only=True)
class ClassList:
    """Names of class 0, 1, ..., and what each color in an RGB mask stands for: a class, or 255 = ignored."""

    names: tuple[str, ...]
    colors: dict[Color, int] | None = None

    @property
    def palette(self) -> tuple[Color, ...] | None:
        """The color of each class, where colors are given."""
        if self.colors is None:
            return None
        color_of = {k: color for color, k in self.colors.items()}
        return tuple(color_of[k] for k in range(len(self.names)))


def load_class_list(config: DataConfig, root: Path) -> ClassList:
    """The classes that the config lists, or those in the file that it names, or those in `classes.txt`.

    A line of a file is a name, or a name and a color as three numbers; then every line is, and one may be
    `ignore R G B`. Without colors `ignore` is no name: what a mask ignores is a value, `data.ignore_index`.

    Raises:
        DataError: there is no list, or it is none.
    """
    if isinstance(config.class_names, list):
        return _checked(ClassList(names=tuple(config.class_names)), where="data.class_names")
    if config.class_names is not None:
        path = find_list(config.class_names, root=root, key="data.class_names")
    else:
        path = root / CLASS_LIST
    if not path.is_file():
        raise DataError(
            f"There is no {path}. Write the names of the classes into it, one a line, the class of mask value 0 first "
            "(followed by its color as R G B, if masks are in RGB); or set data.class_names=[NAME, NAME, ...]."
        )
    return _checked(_parse(path), where=str(path))


def _parse(path: Path) -> ClassList:
    rows = [(number, *_split_color(line)) for number, line in read_lines(path)]
    if all(color is None for _, _, color in rows):
        return ClassList(names=tuple(name for _, name, _ in rows))
    names = tuple(name for _, name, _ in rows if name != IGNORED)
    colors: dict[Color, int] = {}
    for number, name, color in rows:
        if color is None or max(color) > IGNORE_INDEX or color in colors:
            what = "no color" if color is None else f"the color {color}" + " again" * (color in colors)
            raise DataError(
                f"{path}, line {number}: {name!r} has {what}; with colors, each line is a name and three numbers in "
                "0..255, different from all others'."
            )
        colors[color] = IGNORE_INDEX if name == IGNORED else names.index(name)
    return ClassList(names=names, colors=colors)


def _split_color(line: str) -> tuple[str, Color | None]:
    """A name, which may hold blanks, and the three numbers after it."""
    words = line.split()
    if len(words) < 4 or not all(word.isascii() and word.isdigit() for word in words[-3:]):
        return line.strip(), None
    red, green, blue = map(int, words[-3:])
    return " ".join(words[:-3]), (red, green, blue)


def _checked(classes: ClassList, *, where: str) -> ClassList:
    names = classes.names
    if IGNORED in names:
        raise DataError(
            f"{where} names a class {IGNORED!r}, which is the name for what is no class. Where masks are in RGB, write "
            f"a color on every line (`{IGNORED} R G B`); else list classes alone: which value of a mask is ignored, "
            "data.ignore_index says."
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{where} names the class {twice!r} twice; each class has a name of its own.")
    if not 2 <= len(names) <= MAX_CLASSES:
        raise DataError(f"{where} names {_count(names)}; masks have 2 to {MAX_CLASSES}.")
    return classes


def _count(names: Sequence[str]) -> str:
    return f"one class ({names[0]})" if len(names) == 1 else f"{len(names)} classes"
