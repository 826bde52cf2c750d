"""What is wrong, or only unusual, with an image file; every finding is a reason in words."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import ExifTags, Image, UnidentifiedImageError

from mibench_datasets.pictures.decode import DEEP_MODES, FORMATS, to_8_bits

EXTENSIONS = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".mpo"},
    "PNG": {".png"},
    "WEBP": {".webp"},
    "BMP": {".bmp", ".dib"},
    "GIF": {".gif"},
    "PPM": {".ppm", ".pgm", ".pbm", ".pnm"},
    "TIFF": {".tif", ".tiff"},
}
MOST_PIXELS = 178_956_970
"""Pillow's own limit against files that unpack to whole memories."""
_PNG, _DEPTH_AT = b"\x89PNG\r\n\x1a\n", 24
_SIGNATURES = (
    (b"version https://git-lfs", "it is a pointer of Git LFS; the picture itself was not downloaded (git lfs pull)"),
    (b"PK\x03\x04", "it is a zip archive"),
    (b"\x1f\x8b", "it is a gzip archive"),
    (b"%PDF", "it is a PDF document"),
    (b"\x93NUMPY", "it is a numpy array, not an image file"),
    (b"<svg", "it is an SVG drawing, which has no pixels"),
)


@dataclass(frozen=True)
class Verdict:
    """What a look into a file showed.

    Attributes:
        fault: why it cannot be used; empty if it can.
        conversions: what is done to it that its owner may not expect.
        size: width and height in pixels; zeros if it cannot be used.
    """

    fault: str = ""
    conversions: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)


def examine(content: bytes, suffix: str = "", *, exif: bool = True) -> Verdict:
    """Look at a file's bytes, decoding all of it.

    Args:
        content: the file.
        suffix: of its name, ``".jpg"``; empty if it does not matter.
        exif: whether a camera's orientation will be applied.
    """
    if not content:
        return Verdict("it is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                return Verdict(f"it has {image.width} x {image.height} pixels, more than is safe to unpack")
            conversions = tuple(_conversions(image, content, suffix.lower(), exif))
            size = image.size
            image.draft("L", (1, 1))  # JPEG: every byte is read, few pixels are made
            to_8_bits(image).load()
    except UnidentifiedImageError:
        return Verdict(_what_else(content))
    except Image.DecompressionBombError:
        return Verdict("it has more pixels than is safe to unpack")
    except Exception as error:  # decoders of damaged files raise whatever they trip over
        return Verdict(f"it is damaged: {error or type(error).__name__}")
    return Verdict("", conversions, size)


def _conversions(image: Image.Image, content: bytes, suffix: str, exif: bool) -> list[str]:
    found, name = [], str(image.format)
    if suffix and suffix not in EXTENSIONS[name]:
        found.append(f"it is a {name} file, whatever its name says")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        found.append(f"it holds {frames} frames; the first one is taken")
    if image.mode == "CMYK":
        found.append("its colours are CMYK; they are converted without a colour profile")
    if image.mode in DEEP_MODES or (content.startswith(_PNG) and content[_DEPTH_AT] == 16):
        found.append("it has 16 bits per channel; they are reduced to 8")
    if image.mode in ("P", "PA"):
        found.append("its colours come from a palette")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        found.append("it has transparency, which is dropped")
    if image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1):
        found.append("the camera's orientation " + ("is applied" if exif else "is ignored"))
    return found


def _what_else(content: bytes) -> str:
    """Say what a file is that is no image."""
    begin = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if begin.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in begin:
        return "it is an HTML page, as servers send in the place of a picture"
    for signature, words in _SIGNATURES:
        if begin.startswith(signature.lower()):
            return words
    if begin.startswith((b"<?xml", b"{", b"[")):
        return "it is XML or JSON text, not an image"
    if content[:3] == b"\xff\xd8\xff" or content.startswith(_PNG):
        return "it begins like an image and is cut off or damaged right behind"
    return "it is in no image format that is read here (" + ", ".join(FORMATS) + ")"
