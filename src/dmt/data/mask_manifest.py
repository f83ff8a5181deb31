"""One's own images and masks as a table: `data.name=manifest` in segmentation."""

from collections.abc import Mapping, Sequence

from dmt.config_sections import DataConfig
from dmt.data.class_lists import load_class_list
from dmt.data.images import DataSet
from dmt.data.manifest import Table, below, check_paths, posix, read_manifest
from dmt.data.mask_listing import MaskListing, segmented
from dmt.data.mask_sets import root_folder
from dmt.data.mask_sources import MaskFile
from dmt.data.masked_images import ImageFile, MaskedImages
from dmt.errors import ConfigError


def mask_manifest(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    """Images and masks that a table names: `label` is the path of the mask, or empty; see `manifest`.

    The classes are in `classes.txt` beside the table, or in the config.

    Raises:
        ConfigError: data.root is not given, or lists are, too.
        DataError: the table cannot be read, or a row is wrong.
    """
    table = read_manifest(root_folder(config), allow_outside=config.allow_outside)
    for key in ("validation", "test"):
        if getattr(config, key) is not None:
            raise ConfigError(f"data.{key} has no effect on a manifest: its column `split` says what is what.")
    with_mask = [index for index, mask in enumerate(table.labels) if mask is not None]
    masks = [posix(str(table.labels[index])) for index in with_mask]
    check_paths(
        masks if config.allow_outside else below(masks, table.folder),
        table.folder,
        lambda position: table.place(with_mask[position]),
        allow_outside=config.allow_outside,
    )
    listing = MaskListing(
        files=tuple(_files(table)),
        classes=load_class_list(config, table.folder),
        origin=table.file,
        hint="The column `label` names the mask of an image.",
        root=table.folder,
    )
    return segmented(listing, config, image_size, parts=lambda everything: _parts(table, everything))


def _files(table: Table) -> list[ImageFile]:
    masks = (None if mask is None else MaskFile(table.folder / posix(mask)) for mask in table.labels)
    return [ImageFile(path, table.folder / path, mask) for path, mask in zip(table.paths, masks, strict=True)]


def _parts(table: Table, everything: MaskedImages) -> Mapping[str, Sequence[int]]:
    return {part: [index for index, own in enumerate(table.parts) if own == part] for part in ("validation", "test")}
