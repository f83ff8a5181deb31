"""The orientation that EXIF asks an image to be shown in: photos of phones are often stored on their side."""

import warnings

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

_TURNED_BACK = "dmt_orientation"
"""Key of an image's `info`: its orientation, where Pillow has turned it and we have turned it back."""
_SIDEWAYS = 5
"""The least orientation that exchanges height and width."""

_TO_SHOWN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Of an orientation: from the picture that is stored to the one that it asks for."""
_TO_STORED = _TO_SHOWN | {6: _TO_SHOWN[8], 8: _TO_SHOWN[6]}
"""And back: all others undo themselves."""


def as_stored(image: Image.Image) -> Image.Image:
    """A file as it is stored: a TIFF that asks to be turned, which Pillow does as it decodes it, is turned back."""
    found = image.getexif().get(ExifTags.Base.Orientation) if isinstance(image, TiffImageFile) else None
    if found not in _TO_STORED:
        return image
    image.load()
    stored = image.transpose(_TO_STORED[found])
    stored.info[_TURNED_BACK] = found
    return stored


def orientation(image: Image.Image) -> int:
    """What the EXIF of a stored image asks for, 2 .. 8; 1 = as it is stored, or nothing that can be made out."""
    if _TURNED_BACK in image.info:
        found: int = image.info[_TURNED_BACK]
        return found
    if isinstance(image, TiffImageFile) or "exif" not in image.info:  # a PNG would be decoded to look for it
        return 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = image.getexif().get(ExifTags.Base.Orientation, 1)
        except Exception:  # noqa: BLE001 - whatever a broken one makes its parser raise: it says nothing
            return 1
    return found if found in _TO_SHOWN else 1


def upright(image: Image.Image) -> Image.Image:
    """A stored image turned as its EXIF asks."""
    asked = orientation(image)
    return image if asked == 1 else image.transpose(_TO_SHOWN[asked])


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width of that, without decoding the image."""
    return (image.width, image.height) if orientation(image) >= _SIDEWAYS else (image.height, image.width)
