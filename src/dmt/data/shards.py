"""Unlabeled images in tar files, as WebDataset lays them out: read in place, never unpacked."""

import glob
import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from dmt.data.image_files import IMAGE_SUFFIXES
from dmt.errors import DataError


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file inside a tar file.

    Attributes:
        shard: the tar file.
        name: in it.
        offset: of its first byte.
        length: in bytes.
    """

    shard: Path
    name: str
    offset: int
    length: int

    def __str__(self) -> str:
        return f"{self.shard}: {self.name}"

    @property
    def suffix(self) -> str:
        """Of its name."""
        return PurePosixPath(self.name).suffix

    @property
    def key(self) -> str:
        """Its name in split files."""
        return f"{self.shard.name}/{self.name}"

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Its bytes, in memory."""
        with self.shard.open(mode) as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.length))


def shard_images(pattern: str, *, root: Path) -> list[TarMember]:
    """The images in all tar files that a pattern matches; labels and other files beside them count nothing.

    Args:
        pattern: as in the config, for instance `shards/*.tar`; relative to the working folder, or else to `root`.
        root: the folder of the data.

    Raises:
        DataError: nothing matches, a file is no plain tar file, or two have one name.
    """
    paths = _matching(pattern, root)
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        raise DataError(f"data.shards={pattern} matches two files of one name; each shard has a name of its own.")
    members = [member for path in paths for member in tar_members(path)]
    if not members:
        raise DataError(f"The {len(paths)} tar files of data.shards={pattern} hold no image.")
    return members


def _matching(pattern: str, root: Path) -> list[Path]:
    given = os.path.expanduser(pattern)  # noqa: PTH111 - a pattern is no path
    for place in (given, f"{glob.escape(str(root))}/{pattern}"):
        if found := sorted(glob.glob(place)):  # noqa: PTH207 - the pattern may be absolute
            return [Path(path) for path in found]
    raise DataError(f"data.shards is {pattern}, which matches no file, neither here nor in {root}.")


def tar_members(path: Path) -> list[TarMember]:
    """The images in a tar file.

    Raises:
        DataError: it is no plain tar file.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            # Of two files of one name the later one counts, as when a tar file is unpacked.
            members = {one.name: TarMember(path, one.name, one.offset_data, one.size) for one in tar if _is_image(one)}
            return list(members.values())
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"{path} cannot be read as a tar file ({error}). Get it again; a compressed one must be unzipped to .tar."
        ) from error


def _is_image(member: tarfile.TarInfo) -> bool:
    path = PurePosixPath(member.name)
    return member.isreg() and path.suffix.lower() in IMAGE_SUFFIXES | {".npy"} and not path.name.startswith(".")
