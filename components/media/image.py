"""Pictures, read by Pillow."""

import io
import math
import warnings
from typing import TYPE_CHECKING

from components.media.errors import MediaError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 178_956_970
"""Pixels of a picture above which it is taken for a decompression bomb, as Pillow does."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "AVIF", "JPEG2000")
"""Formats that are read; Pillow has more, some of which start other programs."""

ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)
"""The EXIF tag of how a picture is turned, and its values for pictures that lie on their side."""


def open_image(data: bytes) -> "Image":
    """Return a picture whose header is read, and whose pixels are not yet.

    Raises:
        MediaError: the data are no picture, or one of too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise MediaError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise MediaError("not a picture in a format that is read (PNG, JPEG, WebP, GIF, BMP, TIFF …)") from None
    except Image.DecompressionBombError:
        raise MediaError(f"more than {MAX_PIXELS:,} pixels: taken for a decompression bomb") from None
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError) as error:
        raise MediaError(f"a damaged picture ({error})") from None
    if image.width * image.height > MAX_PIXELS:
        raise MediaError(f"{image.width} x {image.height} pixels: taken for a decompression bomb")
    return image


def read_image(data: bytes, max_pixels: int | None = None) -> "Image":
    """Return a picture in RGB, upright as its EXIF says, transparent parts on white.

    Args:
        max_pixels: a picture of more pixels is scaled down, in proportion.

    Raises:
        MediaError: as `open_image`; or the picture is truncated.
    """
    from PIL import Image, ImageOps

    image = open_image(data)
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
        if "A" in image.getbands() or "transparency" in image.info:
            layer = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        image = image.convert("RGB") if not image.mode.startswith("I") else _eight_bits(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, IndexError) as error:
        raise MediaError(f"a truncated or damaged picture ({error})") from None
    return scaled_down(image, max_pixels)


def _eight_bits(image: "Image") -> "Image":
    """Return a picture of 16 or 32 bits a pixel in 8: Pillow would cut the values off."""
    _, highest = image.getextrema()
    scale = 255 / max(int(highest), 65535) if int(highest) > 255 else 1  # type: ignore[arg-type]
    return image.convert("I").point(lambda value: value * scale + 0).convert("L")


def scaled_down(image: "Image", max_pixels: int | None) -> "Image":
    """Return a picture of at most `max_pixels`, of the same proportions."""
    if max_pixels is None or image.width * image.height <= max_pixels:
        return image
    scale = math.sqrt(max_pixels / (image.width * image.height))
    return image.resize((max(1, int(image.width * scale)), max(1, int(image.height * scale))))
