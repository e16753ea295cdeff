"""Pictures as arrays of bytes. It needs numpy and pillow alone, since exported folders take it along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_GREY_MODES = {"1", "L", "LA"}
_DEEP_MODES = ("I", "F")


class PictureError(ValueError):
    """A file is no picture that can be used."""


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder and of those within it, in order."""
    files = sorted(folder.rglob("*"))
    return [file for file in files if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")]


def pixels_of(path: Path, name: str, *, size: int | None) -> npt.NDArray[np.uint8]:
    """Pixels of shape (channels, height, width): one channel if the picture is grey, three if not.

    Args:
        path: The file.
        name: What it is called in messages.
        size: Height and width to give it; None leaves it as it is.

    Raises:
        PictureError: it cannot be read, or has more than 8 bits in a pixel.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            if opened.mode.startswith(_DEEP_MODES):
                raise PictureError(f"{name} has more than 8 bits in a pixel (mode {opened.mode}); save it with 8 bits")
            image = ImageOps.exif_transpose(opened).convert("L" if opened.mode in _GREY_MODES else "RGB")
        if size is not None:
            image = image.resize((size, size), Image.Resampling.BILINEAR)
    except PictureError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(f"{name} is no image that can be read: {error}") from error
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
