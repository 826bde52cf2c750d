"""Image files that tests write, whole and damaged."""

import io

import numpy as np
from PIL import Image


def photo(seed, size=(40, 32), mode="RGB"):
    """Return a smooth picture of its own."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC).convert(mode)


def encoded(image, kind="PNG", **options):
    """Return the bytes of a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def write(path, content):
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_photos(root, classes, count=3, **options):
    """Write root/<class>/<number>.png."""
    for place, name in enumerate(classes):
        for number in range(count):
            write(root / name / f"{number}.png", encoded(photo(100 * place + number, **options)))
    return root
