"""How do files of images become rows? IDX (MNIST), CIFAR, SVHN, folders.

Every reader takes a path and how many rows are wanted, None for all. MATLAB files are `arrays`'
affair; which of them is SVHN's is told here, by its shape.
"""

import math
from collections import Counter
from pathlib import Path

import numpy as np

from vaesurface import files
from vaesurface.data.refusal import in_float64, listed, opened
from vaesurface.refusal import complaint, located, reading

__all__ = ["cifar", "folder", "idx", "is_idx", "is_svhn", "svhn"]

# Element types of an IDX file by the third byte of its magic number (Y. LeCun's MNIST page); all
# big-endian.
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
PIXELS = 3 * 32 * 32  # of one CIFAR or SVHN image
# CIFAR-10 has one label byte before the pixels, CIFAR-100 two.
CIFAR_RECORDS = (1 + PIXELS, 2 + PIXELS)
SUFFIXES = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
# What is read, whatever a name says: Pillow would hand other files to other programs.
IMAGES = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def idx(path: Path, limit: int | None) -> np.ndarray:
    """Rows of an IDX file.

    It holds the magic number 0, 0, type, rank; one big-endian uint32 per dimension; the values.
    """
    with reading("an IDX file, whole, plain or gzipped", "fetch it again"), opened(path) as file:
        raw = file.read()
    dtype, rank = np.dtype(IDX_TYPES[raw[2]]), raw[3]
    if rank < 2:
        remedy = "load images, not their labels"
        raise complaint("IDX of rank 2 or more", f"rank {rank}", remedy)
    start = 4 + 4 * rank
    shape = [int.from_bytes(raw[at : at + 4], "big") for at in range(4, start, 4)]
    size = start + math.prod(shape) * dtype.itemsize
    if len(raw) != size:
        expected = f"{size} bytes for shape {tuple(shape)}"
        raise complaint(expected, f"{len(raw)}", "fetch it again")
    rows = np.frombuffer(raw, dtype, offset=start).reshape(shape[0], math.prod(shape[1:]))
    rows = in_float64(rows[:limit])
    return rows / 255.0 if dtype == np.uint8 else rows


def is_idx(begins: bytes) -> bool:
    """Whether a file that begins with these four bytes is IDX."""
    return len(begins) == 4 and begins[:2] == b"\0\0" and begins[2] in IDX_TYPES


def cifar(path: Path, limit: int | None) -> np.ndarray:
    """Rows (n, 3072) of a binary file of CIFAR-10 or CIFAR-100, told by the length of a record."""
    with reading("a CIFAR file", "make it readable"), opened(path) as file:
        raw = file.read()
    size = len(raw)
    lengths = [length for length in CIFAR_RECORDS if size and size % length == 0]
    if len(lengths) != 1:
        one, two = CIFAR_RECORDS
        expected = f"CIFAR records of either {one} bytes (CIFAR-10) or {two} (CIFAR-100)"
        got = f"{size} bytes, a whole number of {'both' if lengths else 'neither'}"
        remedy = "drop the last record" if lengths else "fetch the file again"
        raise complaint(expected, got, remedy)
    records = np.frombuffer(raw, np.uint8).reshape(-1, lengths[0])
    return in_float64(records[:limit, -PIXELS:]) / 255.0


def is_svhn(X: np.ndarray) -> bool:
    """Whether an array is one of SVHN's cropped digits: bytes (32, 32, 3, n)."""
    return X.dtype == np.uint8 and X.ndim == 4 and X.shape[:3] == (32, 32, 3)


def svhn(X: np.ndarray, limit: int | None) -> np.ndarray:
    """Rows (n, 3072) of SVHN's array."""
    return in_float64(X[..., :limit]).transpose(3, 2, 0, 1).reshape(-1, PIXELS) / 255.0


def folder(path: Path, limit: int | None) -> np.ndarray:
    """Rows of a folder of images by file name: one size, all grayscale or all RGB."""
    paths = sorted(file for file in path.glob("[!.]*") if file.suffix.lower() in SUFFIXES)[:limit]
    if not paths:
        entries = sorted(entry.name for entry in path.glob("[!.]*"))
        expected = f"images ({' '.join(SUFFIXES)})"
        got = f"a folder without any{f' that holds {listed(entries)}' if entries else ''}"
        raise complaint(expected, got, "name the folder that holds them, or one file")
    images: list[np.ndarray] = []
    size = 0
    for file in paths:
        images.append(_pixels(file))
        size += images[-1].size
        files.affordable(8 * size, "in float64")
    kinds = [f"{'RGB' if image.ndim == 3 else 'grayscale'} {image.shape[-2:]}" for image in images]
    usual, _ = Counter(kinds).most_common(1)[0]
    for file, kind in zip(paths, kinds, strict=True):
        if kind != usual:
            with located(file.name):
                raise complaint(f"{usual} like most of its folder", kind, "convert or remove it")
    return np.stack([image.ravel() for image in images]) / 255.0


def _pixels(path: Path) -> np.ndarray:
    """Pixels of one image, uint8: (height, width) if grayscale, (3, height, width) if RGB."""
    with located(path.name):
        mode, pixels = _decoded(path)
        if mode not in ("1", "L", "RGB"):
            remedy = "convert it to one of these"
            raise complaint("8-bit grayscale or RGB", f"mode {mode}", remedy)
    return np.moveaxis(pixels, -1, 0) if mode == "RGB" else pixels


def _decoded(path: Path) -> tuple[str, np.ndarray]:
    """The mode of one image, of a palette that of its colors, and its pixels."""
    from PIL import Image

    with (
        reading("an image, whole", "replace or remove it"),
        files.opened(path) as file,
        Image.open(file, formats=IMAGES) as image,
    ):
        files.affordable(8 * image.width * image.height * len(image.getbands()), "in float64")
        mode = image.mode
        if mode == "P":
            mode = "RGBA" if "transparency" in image.info else "RGB"
        pixels = np.asarray(image.convert("L" if mode == "1" else mode))
        if image.mode == "P" and (pixels == pixels[..., :1]).all():
            # A grayscale image becomes a palette of grays when saved as GIF.
            return "L", pixels[..., 0]
    return mode, pixels
