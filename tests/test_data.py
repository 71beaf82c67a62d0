"""Every format round-trips, every bad input gives one clear line, and nothing is ever unpickled."""

import gzip
import hashlib
import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from urllib.error import URLError

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from vaesurface import data

ROWS = np.array([[0.0, 1.5, -2.0], [3.0, 4.25, 5.0], [6.0, 7.0, 8.5], [1.0, 1.0, 2.0]])
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
GRAY = np.random.default_rng(1).integers(0, 256, (4, 6, 5), dtype=np.uint8)
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def idx(array, code=0x08):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(IDX_TYPES[code]).tobytes()


def cifar(labels):
    rows = [bytes(range(labels)) + image.tobytes() for image in PIXELS]
    return b"".join(rows)


def mat(compressed=True, **arrays):
    buffer = io.BytesIO()
    savemat(buffer, arrays, do_compression=compressed)
    return buffer.getvalue()


def svhn(compressed=True):
    return mat(compressed, X=PIXELS.transpose(2, 3, 1, 0), y=np.ones((len(PIXELS), 1)))


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def complaint(call, *arguments, **options):
    """The message of the ValueError that a call raises.

    One line that says what was expected, what was got and what to do.
    """
    form = r"\Aexpected [^\n]+, got [^\n]+; [^\n]+\Z|: expected .+, got .+; .+"
    with pytest.raises(ValueError, match=form) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


FORMATS = {
    "rows.npy": (npy(ROWS), ROWS),
    "integers.npy": (npy(np.arange(6).reshape(3, 2)), np.arange(6.0).reshape(3, 2)),
    "bytes-are-not-scaled.npy": (npy(GRAY[0]), GRAY[0]),
    "only.npz": (npz(anything=ROWS), ROWS),
    "named.npz": (npz(y=np.ones(4), X=ROWS), ROWS),
    "lower-case.npz": (npz(x=ROWS, y=np.ones(4)), ROWS),
    "plain.csv": (b"0,1.5,-2\n3,4.25,5\n6,7,8.5\n1,1,2\n", ROWS),
    "header.csv": (
        b'\xef\xbb\xbf"a","b c",d\r\n0,1.5,-2e0\r\n3,4.25,5\r\n"6",7,8.5\r\n\r\n1,1,2',
        ROWS,
    ),
    "commented.csv": (b"# a,b\n1,2\n3,4\n", [[1, 2], [3, 4]]),
    "column.csv": (b"x\n1\n2\n", [[1], [2]]),
    "train-images-idx3-ubyte": (idx(GRAY), GRAY.reshape(4, 30) / 255),
    "train-images-idx3-ubyte.gz": (gzip.compress(idx(GRAY)), GRAY.reshape(4, 30) / 255),
    "images.idx": (idx(PIXELS), PIXELS.reshape(5, 3072) / 255),
    "images.idx.gz": (gzip.compress(idx(GRAY)), GRAY.reshape(4, 30) / 255),
    "no-suffix-but-the-magic-number": (idx(GRAY), GRAY.reshape(4, 30) / 255),
    **{
        f"{code}.idx": (idx(ROWS.round(), code), ROWS.round()) for code in IDX_TYPES if code != 0x08
    },
    "data_batch_1.bin": (cifar(labels=1), PIXELS.reshape(5, 3072) / 255),
    "train.bin": (cifar(labels=2), PIXELS.reshape(5, 3072) / 255),
    "rows.npy.gz": (gzip.compress(npy(ROWS)), ROWS),
    "named.npz.gz": (gzip.compress(npz(y=np.ones(4), X=ROWS)), ROWS),
    "plain.csv.gz": (gzip.compress(b"0,1.5,-2\n3,4.25,5\n6,7,8.5\n1,1,2\n"), ROWS),
    "train.bin.gz": (gzip.compress(cifar(labels=2)), PIXELS.reshape(5, 3072) / 255),
    "rows.mat": (mat(rows=ROWS), ROWS),
    "named.mat": (mat(X=ROWS, y=np.ones(4)), ROWS),
    "sparse.mat": (mat(X=csc_matrix(ROWS)), ROWS),
    "bytes.mat": (mat(pixels=GRAY[0]), GRAY[0]),
    "train_32x32.mat": (svhn(), PIXELS.reshape(5, 3072) / 255),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_gives_the_values_written_to_it(tmp_path, name):
    content, expected = FORMATS[name]
    X = data.load(str(write(tmp_path, name, content)))
    assert X.dtype == np.float64 and X.flags.c_contiguous and X.dtype.isnative
    np.testing.assert_array_equal(X, expected)


@pytest.mark.parametrize("name", FORMATS)
def test_a_limit_keeps_the_first_rows(tmp_path, name):
    content, expected = FORMATS[name]
    path = write(tmp_path, name, content)
    np.testing.assert_array_equal(data.load(path, limit=2), expected[:2])
    np.testing.assert_array_equal(data.load(path, limit=1000), expected)


# number, pixels (n, channels, height, width), whether a row keeps the colors of a pixel together
OPENML = {
    "mnist": (554, PIXELS[:, :1, :28, :28], False),
    "fashion-mnist": (40996, PIXELS[:, 1:2, :28, :28], False),
    "cifar-10": (40927, PIXELS, False),
    "svhn": (41081, PIXELS, True),
}


@pytest.fixture
def openml(tmp_path, monkeypatch):
    """Puts images into scikit-learn's cache, in the files that openml.org serves."""
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))

    def keep(number, images, colors_last=False, md5=None):
        rows = (images.transpose(0, 2, 3, 1) if colors_last else images).reshape(len(images), -1)
        names = [*(f"pixel{i}" for i in range(rows.shape[1])), "class"]
        head = (
            "@RELATION images\n"
            + "".join(f"@ATTRIBUTE {n} REAL\n" for n in names[:-1])
            + "@ATTRIBUTE class {0,1}\n@DATA\n"
        )
        arff = head + "".join(
            ",".join(map(str, [*row, i % 2])) + "\n" for i, row in enumerate(rows)
        )
        roles = ("is_target", "is_ignore", "is_row_identifier")
        features = [
            {"index": str(i), "name": n, "data_type": "nominal" if n == "class" else "numeric"}
            | dict.fromkeys(roles, "false")
            | {"number_of_missing_values": "0"}
            | {"is_target": "true" if n == "class" else "false"}
            for i, n in enumerate(names)
        ]
        url = f"https://www.openml.org/data/v1/download/{number}/images.arff"
        about = {
            "id": str(number),
            "name": "images",
            "version": "1",
            "format": "ARFF",
            "status": "active",
            "description": "",
        }
        about |= {"url": url, "md5_checksum": md5 or hashlib.md5(arff.encode()).hexdigest()}
        served = {
            f"api/v1/json/data/{number}": {"data_set_description": about},
            f"api/v1/json/data/features/{number}": {"data_features": {"feature": features}},
            f"api/v1/json/data/qualities/{number}": {"data_qualities": {"quality": []}},
        }
        files = {name: json.dumps(content) for name, content in served.items()} | {
            url.split("org/")[1]: arff
        }
        for name, content in files.items():
            path = tmp_path / "openml" / "openml.org" / f"{name}.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(content.encode()))

    return keep


@pytest.mark.parametrize("name", OPENML)
def test_a_data_set_of_openml_comes_channel_by_channel(openml, name):
    number, images, colors_last = OPENML[name]
    openml(number, images, colors_last)
    X = data.load(name)
    np.testing.assert_array_equal(X, images.reshape(5, -1) / 255)
    np.testing.assert_array_equal(data.load(name, limit=2), X[:2])
    assert data.shape(X) == images.shape[1:]


class Served(io.BytesIO):
    """An answer of a server."""

    def info(self):
        return {"Content-Encoding": "gzip"}


def test_what_openml_does_not_give_whole_is_refused(openml, monkeypatch):
    openml(554, PIXELS[:, :1, :8, :8])
    assert "expected mnist of 784 pixels, got shape (5, 64)" in complaint(data.load, "mnist")
    openml(40996, PIXELS[:, :1, :28, :28], md5="0" * 32)
    monkeypatch.setattr(
        "sklearn.datasets._openml.urlopen", lambda _: Served(gzip.compress(b"something else"))
    )
    told = complaint(data.load, "fashion-mnist")
    assert "expected fashion-mnist from openml.org, whole, got ValueError" in told
    assert "md5" in told  # in words that differ between versions of scikit-learn


def test_without_a_network_one_line_says_what_to_do(openml, monkeypatch):
    calls = []

    def unreachable(_):
        calls.append(1)
        raise URLError("no route to host")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", unreachable)
    monkeypatch.setattr("time.sleep", lambda _: None)  # between retries
    line = (
        r"\Aexpected svhn from openml.org or .*cache, got .*no route to host.*; "
        r"give the path of the data set's own file.*\Z"
    )
    with pytest.raises(ConnectionError, match=line) as caught:
        data.load("svhn")
    assert calls and "\n" not in str(caught.value)


def test_patches_are_the_squares_of_both_photographs():
    from sklearn.datasets import load_sample_images

    X = data.load("patches")
    assert X.shape == (8480, 192) and data.shape(X) == (3, 8, 8)
    squares = {row.tobytes() for row in (255 * X).round().astype(np.uint8)}
    for photo in load_sample_images().images:
        for top, left in [(0, 0), (8, 0), (0, 8), (200, 320), (416, 632)]:
            square = photo[top : top + 8, left : left + 8]
            assert np.moveaxis(square, -1, 0).ravel().tobytes() in squares
    np.testing.assert_array_equal(data.load("patches", limit=5), X[:5])
    wide = data.load("patches-32x32")
    assert wide.shape == (2 * 50 * 77, 3072)
    last = np.moveaxis(load_sample_images().images[1][392:424, 608:640], -1, 0).ravel() / 255.0
    assert (wide == last[None]).all(axis=1).sum() == 1
    # Each photograph has a mean color of its own: the first hundred are of both, as all are.
    np.testing.assert_allclose(X[:400].mean(axis=0), X.mean(axis=0), atol=5 * 0.3 / 20)


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 32, 32), (1, 1, 1), (3, 1, 1)]
)
def test_the_number_of_features_tells_the_shape_of_square_images(shape):
    assert data.shape(np.zeros((2, int(np.prod(shape))))) == shape


@pytest.mark.parametrize("d", [2, 8, 16 * 2, 3 * 30])
def test_rows_that_are_no_square_images_have_no_shape(d):
    with pytest.raises(
        ValueError,
        match=f"expected rows that are square images, gray or RGB, got {d} features; crop",
    ):
        data.shape(np.zeros((2, d)))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".PGM", ".tiff"])
def test_a_folder_of_grayscale_images_is_read_in_order_of_name(tmp_path, suffix):
    for number, image in reversed(list(enumerate(GRAY))):
        Image.fromarray(image).save(tmp_path / f"{number}{suffix}")
    (tmp_path / "readme.txt").write_text("not an image")
    (tmp_path / "._0.png").write_text("nor this")
    np.testing.assert_array_equal(data.load(tmp_path), GRAY.reshape(4, 30) / 255)
    np.testing.assert_array_equal(data.load(tmp_path, limit=3), GRAY[:3].reshape(3, 30) / 255)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm"])
def test_a_folder_of_color_images_is_flattened_channel_by_channel(tmp_path, suffix):
    for number, image in enumerate(PIXELS):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / f"{number}{suffix}")
    np.testing.assert_array_equal(data.load(tmp_path), PIXELS.reshape(5, 3072) / 255)


@pytest.mark.parametrize("mode", ["1", "P"])
def test_bitmaps_and_palettes_of_grays_are_read_as_grayscale(tmp_path, mode):
    for number, image in enumerate(GRAY):
        black_and_white = Image.fromarray(np.where(image > 127, 255, 0).astype(np.uint8))
        black_and_white.convert(mode).save(tmp_path / f"{number}.png")
    np.testing.assert_array_equal(data.load(tmp_path), GRAY.reshape(4, 30) > 127)


def test_palettes_of_colors_are_read_as_colors(tmp_path):
    for number, image in enumerate(GRAY):
        red = np.dstack([image, 0 * image, 0 * image])
        Image.fromarray(red).quantize(256).save(tmp_path / f"{number}.gif")
    expected = np.pad(GRAY.reshape(4, 30), ((0, 0), (0, 60))) / 255
    np.testing.assert_array_equal(data.load(tmp_path), expected)


def test_a_jpeg_is_read_to_its_loss(tmp_path):
    for number in range(2):
        Image.fromarray(np.full((8, 8), 100 * number, np.uint8)).save(tmp_path / f"{number}.jpg")
    np.testing.assert_allclose(
        data.load(tmp_path), np.repeat([[0], [100 / 255]], 64, axis=1), atol=0.01
    )


def test_the_data_sets_that_ship_have_their_documented_shapes_and_ranges():
    digits, pooled = data.load("digits"), data.load("digits-4x4")
    assert digits.shape == (1797, 64) and digits.min() == 0 and digits.max() == 1
    assert pooled.shape == (1797, 16)
    np.testing.assert_allclose(pooled[:, 1], digits[:, [2, 3, 10, 11]].mean(axis=1), rtol=1e-15)
    np.testing.assert_array_equal(data.load("digits", limit=7), digits[:7])
    np.testing.assert_array_equal(data.load("antipodal"), [[1, 1], [-1, -1]])
    np.testing.assert_array_equal(data.antipodal(d=3), [[1, 1, 1], [-1, -1, -1]])


BROKEN = {
    "cut.npy": (npy(ROWS)[:-1], "cut.npy: expected a NumPy file"),
    "header-cut.npy": (npy(ROWS)[:30], "header-cut.npy: expected a NumPy file"),
    "empty.npy": (b"", "got ValueError: it begins with b''"),
    "text.npy": (b"1,2\n3,4\n", "it begins with b'1,2"),
    "greedy.npy": (npy(ROWS).replace(b"(4, 3)", b"(4,9**9)"), "whole and not pickled"),
    "vast.npy": (
        npy(ROWS).replace(b"(4, 3), }      ", b"(4, 999999999)}"),
        "whole and not pickled",
    ),
    "scalar.npy": (npy(np.float64(3)), r"got shape \(\); reshape"),
    "text-array.npy": (npy(np.array([["a", "b"]] * 2)), "real numbers, got dtype <U1"),
    "records.npy": (npy(np.zeros((2, 2), [("a", float)])), "got dtype"),
    "cut.npz": (npz(X=ROWS)[:-30], "cut off or damaged"),
    "corrupt.npz": (npz(X=ROWS).replace(ROWS[1].tobytes(), ROWS[0].tobytes()), "Bad CRC-32"),
    "many.npz": (
        npz(train=ROWS, test=ROWS),
        r"expected one array or one named X, got arrays \['train', 'test'\]",
    ),
    "none.npz": (npz(), r"got arrays \[\]"),
    "both.npz": (npz(x=ROWS, X=ROWS), "one named X"),
    "ragged.csv": (
        b"1,2\n3\n",
        "as many in every line, got 1 at row 1 after 2",
    ),
    "words.csv": (b"a,b\n1,2\n3,x\n", r"got 'x' at row 1, column 1 \('b'\); drop the column"),
    "mixed-header.csv": (b"a,2\n1,2\n3,4\n", "got 'a' beside '2' in the first line"),
    "gap.csv": (b"1,2\n3,\n", "got 1 missing, the first at row 1, column 1; drop or impute"),
    "empty.csv": (b"", "got no line of data"),
    "header-only.csv": (b"a,b\n", "got no line of data"),
    "binary.csv": (b"\xff\xfe\x00", "UnicodeDecodeError"),
    "missing-values.csv": (
        b"1,2\nnan,4\n1,inf\n",
        "2 NaN or infinite, the first at row 1, column 0",
    ),
    "one.csv": (b"1,2\n", r"at least 2 rows, got shape \(1, 2\)"),
    "cut-idx3-ubyte": (idx(GRAY)[:-1], r"expected 136 bytes for shape \(4, 6, 5\), got 135"),
    "long.idx": (idx(GRAY) + b"\0", "expected 136 bytes .* got 137"),
    "header-cut.idx": (idx(GRAY)[:9], "expected .* bytes"),
    "cut.idx.gz": (
        gzip.compress(idx(GRAY))[:-9],
        "cut.idx.gz: expected a gzipped file, whole",
    ),
    "corrupt.idx.gz": (gzip.compress(idx(GRAY))[:-8] + b"\0" * 8, "BadGzipFile"),
    "labels-idx1-ubyte": (idx(GRAY[0, 0]), "got rank 1; load images, not their labels"),
    "rank-0.idx": (b"\0\0\x08\0\x07", "got rank 0"),
    "no-pixels.idx": (idx(np.zeros((3, 0, 2))), r"at least 1 column, got shape \(3, 0\)"),
    "type.idx": (b"\0\0\x07\x02" + b"\0" * 8, "so is not IDX either; convert"),
    "notes.rst": (
        b"hello",
        r"a name \(digits, digits-4x4, antipodal, patches, patches-32x32, "
        r"mnist, fashion-mnist, cifar-10, svhn\) or a path \(.npy .npz .csv .tsv .txt .bin .mat",
    ),
    "empty.dat": (b"", "not IDX either"),
    "cut.bin": (cifar(labels=1)[:-1], "got 15364 bytes, a whole number of neither; fetch"),
    "empty.bin": (b"", "got 0 bytes"),
    "cut.mat": (svhn()[:-100], "cut.mat: expected MATLAB's arrays, whole"),
    "cut-uncompressed.mat": (
        svhn(compressed=False)[:-1000],
        "cut-uncompressed.mat: expected MATLAB's arrays, whole",
    ),
    "empty.mat": (b"", "empty.mat: expected MATLAB"),
    "text.mat": (b"hello" * 100, "text.mat: expected MATLAB"),
    "hdf5.mat": (
        b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + b"\0" * 99,
        r"got version 7.3 \(HDF5\); save it with -v7",
    ),
    "two.mat": (mat(images=ROWS, masks=ROWS), r"got arrays \['images', 'masks'\]; name one of"),
    "images.mat": (
        mat(images=np.zeros((28, 28, 3, 4), np.uint8)),
        r"array 'images': expected a matrix \(n, d\), got shape \(28, 28, 3, 4\); reshape",
    ),
    "cell.mat": (mat(X=[ROWS[0], ROWS[0, 1:]]), "array 'X': expected numbers, got MATLAB's cell"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("limit", [None, 3])
def test_a_bad_file_gives_one_clear_line(tmp_path, name, limit):
    content, match = BROKEN[name]
    path = write(tmp_path, name, content)
    with pytest.raises(ValueError, match=match):
        data.load(path, limit=limit)
    assert complaint(data.load, path, limit=limit).count(name) >= 1


def test_a_file_that_could_be_either_cifar_is_refused(tmp_path):
    path = write(tmp_path, "either.bin", b"")
    with path.open("r+b") as file:
        file.truncate(3073 * 3074)
    assert "a whole number of both; drop the last record" in complaint(data.load, path)


RGB = PIXELS[0].transpose(1, 2, 0)
BAD_FOLDERS = {
    "odd-size": (
        {"a.png": png(GRAY[0]), "b.png": png(GRAY[1]), "c.png": png(GRAY[2].T)},
        r"c.png: .*\(6, 5\).*\(5, 6\)",
    ),
    "odd-first": (
        {"a.png": png(GRAY[0].T), "b.png": png(GRAY[1]), "c.png": png(GRAY[2])},
        "a.png: expected gray",
    ),
    "odd-mode": (
        {"a.png": png(RGB), "b.png": png(RGB), "c.png": png(RGB[..., 0])},
        "c.png: expected RGB .* got gray",
    ),
    "alpha": (
        {"a.png": png(np.dstack([RGB, RGB[..., :1]]))},
        "a.png: expected 8-bit .* got mode RGBA",
    ),
    "deep": ({"a.png": png(GRAY[0].astype(np.uint16) * 257)}, "a.png: .* got mode I;16"),
    "cut": ({"a.png": png(RGB)[:-40], "b.png": png(RGB)}, "a.png: expected an image, whole"),
    "misnamed": ({"a.png": b"hello"}, "a.png: .*UnidentifiedImageError"),
    "empty": (
        {"notes.txt": b"hello"},
        r"empty: expected images \(.bmp .* got a folder without any",
    ),
    "single": ({"a.png": png(RGB)}, r"single: expected at least 2 rows, got shape \(1, 3072\)"),
    "same": ({"a.png": png(RGB), "b.png": png(RGB)}, "same: expected data that vary"),
}


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_a_bad_folder_names_the_culprit(tmp_path, name):
    files, match = BAD_FOLDERS[name]
    for file, content in files.items():
        write(tmp_path / name, file, content)
    with pytest.raises(ValueError, match=match):
        data.load(tmp_path / name)
    complaint(data.load, tmp_path / name)


class Bomb:
    """Its unpickling would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_pickle_is_ever_loaded(tmp_path):
    trace = tmp_path / "exploded"
    array = np.array([[Bomb(trace), 1], [2, 3]], dtype=object)
    pickled = pickle.dumps(Bomb(trace))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("X.npy", pickled)
    files = {
        "a.npy": npy(array),
        "a.npz": npz(X=array),
        "b.npy": pickled,
        "b.npz": pickled,
        "c.npz": zipped.getvalue(),
    }
    for name, content in files.items():
        assert name in complaint(data.load, write(tmp_path, name, content))
    assert not trace.exists()


@pytest.mark.parametrize(
    "name", ["missing.npy", "no/such/folder", "~/no-such-file.csv", "x\0y.npy"]
)
def test_a_missing_file_is_not_found(name):
    with pytest.raises(
        FileNotFoundError, match=r"expected a file or folder, got '.*' where none is; correct"
    ):
        data.load(name)


@pytest.mark.parametrize("source", ["", "digit", "MNIST", 3, ROWS, None])
def test_an_unknown_source_is_answered_with_the_known_ones(source):
    assert "a name" in complaint(data.load, source)
    if isinstance(source, str):
        assert "digits, digits-4x4, antipodal" in complaint(data.load, source)


@pytest.mark.parametrize("limit", [1, 0, -3, 2.5, True, "3"])
def test_a_limit_below_two_is_refused(limit):
    assert "limit as an integer >= 2" in complaint(data.load, "digits", limit=limit)


@pytest.mark.parametrize(
    "X", [ROWS, ROWS.tolist(), ROWS.T.copy().T, ROWS.astype(">f8"), jnp.asarray(ROWS, jnp.bfloat16)]
)
def test_check_returns_the_same_values_as_contiguous_float64(X):
    checked = data.check(X)
    assert (
        type(checked) is np.ndarray and checked.dtype == np.float64 and checked.flags.c_contiguous
    )
    np.testing.assert_array_equal(checked, ROWS)


def test_check_copies_nothing_that_is_already_right():
    assert data.check(ROWS) is ROWS


@pytest.mark.parametrize(
    ("X", "match"),
    [
        (ROWS * 1j, "expected real numbers, got dtype complex128"),
        (
            ROWS.astype(object),
            r"dtype object \(Python objects such as 0.0\); make it one array",
        ),
        (ROWS.astype("V8"), "bfloat16 is saved so"),
        (csc_matrix(ROWS), "expected a dense array, got a sparse csc_matrix; convert"),
        (np.ma.masked_less(ROWS, 0), "got a masked array with 1 entries missing; drop"),
        (ROWS.astype(str), r"got dtype <U\d+ \(text such as '0.0'\); give numbers"),
        (ROWS > 1, "got dtype bool"),
        (np.zeros((2, 2), "datetime64[s]"), "got dtype datetime64"),
        ([[1, 2], [3]], "got rows of unequal length"),
        (ROWS[0], r"expected a matrix \(n, d\), got shape \(3,\)"),
        (ROWS[None], r"got shape \(1, 4, 3\)"),
        (3.0, r"got shape \(\)"),
        (ROWS[:1], r"expected at least 2 rows, got shape \(1, 3\)"),
        (ROWS[:, :0], r"expected at least 1 column, got shape \(4, 0\)"),
        (np.where(ROWS == 5, np.nan, ROWS), "1 NaN or infinite, the first at row 1, column 2"),
        (np.where(ROWS > 5, np.inf, ROWS), "3 NaN or infinite, the first at row 2, column 0"),
        (np.ones((3, 2)), "expected data that vary, got rows all equal to rounding"),
        ([[0.1 + 0.2, 1e9], [0.3, 1e9]], "rows all equal to rounding"),
        (ROWS * 1e-200, "rows all equal to rounding"),
        (ROWS * 1e200, "expected a finite variance, got values that differ by"),
        (ROWS * 2e307, "expected a finite variance"),
    ],
)
def test_check_refuses_what_is_not_a_data_matrix(X, match):
    with pytest.raises(ValueError, match=match):
        data.check(X)
    complaint(data.check, X)


def test_one_column_that_varies_is_enough():
    data.check([[1.0, 5.0], [1.0, 5.0 + 1e-12]])


@pytest.mark.parametrize("n", [5, 40])
@pytest.mark.parametrize(
    "spectrum", [[4.0, 2.0, 2.0, 0.5], [0.0, 1e-6, 3.0, 0.0, 1.0, 0.0, 0.0, 0.0], [1.0]]
)
def test_a_gaussian_sample_has_exactly_the_spectrum_asked_for(n, spectrum):
    X = data.gaussian(n, spectrum, seed=3)
    assert X.shape == (n, len(spectrum))
    covariance = (X - X.mean(axis=0)).T @ (X - X.mean(axis=0)) / n
    np.testing.assert_allclose(
        np.linalg.eigvalsh(covariance), np.sort(spectrum), rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-14)


def test_clusters_without_noise_are_their_centers_in_turn():
    X = data.clusters(7, 3, centers=2, noise=0.0, seed=0)
    np.testing.assert_array_equal(X, X[[0, 1, 0, 1, 0, 1, 0]])
    noisy = data.clusters(4000, 3, centers=2, noise=0.5, seed=0)
    np.testing.assert_allclose(noisy[::2].std(axis=0), 0.5, rtol=0.1)
    np.testing.assert_allclose(noisy[1::2].mean(axis=0), X[1], atol=0.05)


def test_synthetic_data_depend_on_the_seed_alone():
    for make in [
        lambda seed: data.gaussian(9, [2, 1], seed=seed),
        lambda seed: data.clusters(9, 2, centers=3, noise=1, seed=seed),
    ]:
        np.testing.assert_array_equal(make(5), make(5))
        assert not np.array_equal(make(5), make(6))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: data.antipodal(d=0), "d as an integer >= 1, got 0"),
        (
            lambda: data.gaussian(3, [1, 2, 3], seed=0),
            "expected n > 3, the number of nonzero eigenvalues, got n = 3",
        ),
        (lambda: data.gaussian(3, [1, -2], seed=0), r"a spectrum \(d,\) of eigenvalues >= 0"),
        (lambda: data.gaussian(3, [0, 0], seed=0), "one of them > 0"),
        (lambda: data.gaussian(3, [[1]], seed=0), "a spectrum"),
        (lambda: data.gaussian(3, [np.nan, 1], seed=0), "a spectrum"),
        (lambda: data.gaussian(3.5, [1], seed=0), "n as an integer >= 2, got 3.5"),  # type: ignore[arg-type]
        (lambda: data.gaussian(3, [1], seed=None), "seed as an integer >= 0, got None"),  # type: ignore[arg-type]
        (lambda: data.clusters(3, 2, centers=4, noise=1, seed=0), "at most n = 3 centers, got 4"),
        (lambda: data.clusters(3, 2, centers=0, noise=1, seed=0), "centers as an integer >= 1"),
        (
            lambda: data.clusters(3, 2, centers=2, noise=-1, seed=0),
            "expected noise >= 0, got noise = -1",
        ),
        (lambda: data.clusters(3, 2, centers=2, noise=np.nan, seed=0), "got noise = nan"),
        (lambda: data.clusters(3, 2, centers=1, noise=0, seed=0), "expected data that vary"),
    ],
)
def test_impossible_synthetic_data_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
    complaint(make)


def test_a_digest_is_of_values_and_shape_and_never_changes():
    assert (
        data.digest(ROWS)
        == data.digest(ROWS.astype(">f8").T.copy().T)
        == data.digest(jnp.asarray(ROWS, jnp.float32))
    )
    assert data.digest(ROWS) != data.digest(ROWS.reshape(3, 4))
    assert data.digest(ROWS) != data.digest(ROWS + 1e-15)
    assert (
        data.digest(data.antipodal())
        == "063b0e32fc01bec0e3c60b9067ed4a65067d400f77c15c9bf796fe1ef4dfcd5f"
    )


def test_importing_the_module_loads_nothing_heavy():
    heavy = "{'sklearn', 'scipy', 'PIL', 'jax'} & set(sys.modules)"
    subprocess.run(
        [sys.executable, "-c", f"import sys, vaesurface.data; assert not {heavy}, {heavy}"],
        check=True,
    )


# Tables, as people and pandas write them

FLOATS = np.random.default_rng(0).standard_normal((6, 5)).round(3)
PIXEL_ROWS = np.random.default_rng(0).integers(0, 256, (6, 5))
NAMES = list("abcde")


def frame(values, columns=None, index=None):
    return pd.DataFrame(values, columns=columns, index=index)


TABLES = {
    "as pandas writes it": (lambda t: frame(t).to_csv(), True),
    "named": (lambda t: frame(t, NAMES).to_csv(), True),
    "named, without index": (lambda t: frame(t, NAMES).to_csv(index=False), True),
    "neither header nor index": (lambda t: frame(t).to_csv(header=False, index=False), True),
    "words for an index": (lambda t: frame(t, index=list("uvwxyz")).to_csv(), True),
    "a shuffled index": (lambda t: frame(t, index=[3, 1, 0, 5, 4, 9]).to_csv(), True),
    "years after an index": (lambda t: frame(t, range(2000, 2005)).to_csv(), True),
    "quoted": (lambda t: frame(t, ["a b", "c,d", *"efg"]).to_csv(index=False, quoting=1), True),
    "quoted numbers": (lambda t: frame(t, list("01234")).to_csv(index=False, quoting=2), True),
    "tabs": (lambda t: frame(t).to_csv(sep="\t"), True),
    "semicolons": (lambda t: frame(t).to_csv(sep=";"), True),
    "a byte order mark": (lambda t: "\ufeff" + frame(t).to_csv(), True),
    "R": (lambda t: frame(t, NAMES, range(1, 7)).to_csv(quoting=2), True),
    "index without header": (lambda t: frame(t).to_csv(header=False), "column that counts them;"),
    "a named index": (
        lambda t: frame(t, NAMES, pd.RangeIndex(6, name="sample")).to_csv(),
        "a first column that counts them, 'sample'; leave the index out",
    ),
    "an id from 1000 on": (
        lambda t: frame(t, NAMES, pd.RangeIndex(1000, 1006, name="id")).to_csv(),
        "a first column that counts them, 'id'; leave the index out",
    ),
    "an id in no order": (
        lambda t: frame(t, NAMES, pd.Index([7, 31, 5, 99, 12, 40], name="patient_id")).to_csv(),
        "a first column that counts them, 'patient_id'; leave the index out",
    ),
    "an index from 1000 without header": (
        lambda t: frame(t, index=range(1000, 1006)).to_csv(header=False),
        "column that counts them; leave the index out",
    ),
    "a shuffled index without header": (
        lambda t: frame(t, index=[3, 1, 0, 5, 4, 2]).to_csv(header=False),
        "column that counts them; leave the index out",
    ),
    "a column y": (lambda t: frame(t, [*"abcd", "y"]).to_csv(), "got a column named 'y'; drop it"),
    "coordinates": (lambda t: frame(t, [*"abcxy"]).to_csv(), True),
    "a repeated index": (
        lambda t: frame(t, index=[0, 1, 2] * 2).to_csv(),
        "without one that does not number the rows",
    ),
    "an index twice": (
        lambda t: pd.read_csv(io.StringIO(frame(t, NAMES).to_csv())).to_csv(),
        "a name for every column but an index, got none for column 1",
    ),
    "a column of labels": (
        lambda t: frame(t, [*"abcd", "label"]).to_csv(index=False),
        "features only, got a column named 'label'; drop it",
    ),
    "targets": (lambda t: frame(t, ["Target", *"bcde"]).to_csv(), "named 'Target'; drop it"),
    "pixels of Kaggle": (
        lambda t: frame(t, ["label", *range(4)]).to_csv(index=False),
        "named 'label'; drop it",
    ),
    "words": (
        lambda t: frame(t, NAMES).assign(species="setosa").to_csv(index=False),
        r"got 'setosa' at row 0, column 5 \('species'\); drop the column",
    ),
    "years": (
        lambda t: frame(t, range(2000, 2005)).to_csv(index=False),
        "a header or a datum, got a first line 2000, 2001, 2002, ... that may be either",
    ),
    "wavelengths": (
        lambda t: frame(np.hstack([t, t]), [1.5**j for j in range(10)]).to_csv(index=False),
        "a header or a datum, got a first line 1.0, 1.5, 2.25",
    ),
    "a cell that is missing": (
        lambda t: frame(t, NAMES).where(t != t[2, 3]).to_csv(),
        r"got 1 missing, the first at row 2, column 4 \('d'\); drop or impute",
    ),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("values", [FLOATS, PIXEL_ROWS], ids=["floats", "integers"])
def test_a_table_is_read_right_or_refused_with_the_remedy(tmp_path, name, values):
    make, expected = TABLES[name]
    path = write(tmp_path, "table.csv", make(values).encode())
    if expected is True:
        np.testing.assert_array_equal(data.load(path), values)
        np.testing.assert_array_equal(data.load(path, limit=3), values[:3])
    else:
        with pytest.raises(ValueError, match=expected):
            data.load(path)
        complaint(data.load, path, limit=3)


PAIRS = np.random.default_rng(1).uniform(0.1, 0.9, (8, 2))


@pytest.mark.parametrize("mark", [";", ",", "\t"])
@pytest.mark.parametrize("line", ["sep={}", '"sep={}"'])
def test_the_separator_that_excel_declares_is_no_line_of_data(tmp_path, mark, line):
    for names in ("", f"a{mark}b\n"):
        rows = "".join(f"{a}{mark}{b}\n" for a, b in PAIRS)
        content = f"{line.format(mark)}\n{names}{rows}"
        path = write(tmp_path, "excel.csv", content.encode())
        np.testing.assert_array_equal(data.load(path), PAIRS)


def test_few_rows_that_are_counted_beside_decimals_alone(tmp_path):
    counted = "".join(f"{i},{a},{b}\n" for i, (a, b) in enumerate(PAIRS[:3], 1))
    path = write(tmp_path, "counted.csv", counted.encode())
    assert "a first column that counts them; leave the index out" in complaint(data.load, path)


def test_a_header_of_numbers_is_one_where_that_is_certain(tmp_path):
    path = write(tmp_path, "floats.csv", frame(FLOATS).to_csv(index=False).encode())
    np.testing.assert_array_equal(data.load(path), FLOATS)
    path = write(tmp_path, "integers.csv", frame(PIXEL_ROWS).to_csv(index=False).encode())
    assert "a first line 0, 1, 2, ... that may be either; if it is a header, write words" in (
        complaint(data.load, path)
    )
    # Neither evenly spaced nor beside decimals alone, it may be one all the same.
    decimals = "".join(f"{a:.3f},{b:.3f},{b - a:.3f}\n" for a, b in PAIRS)
    for first in ("100,200,350", "7,3,5"):
        path = write(tmp_path, "uneven.csv", f"{first}\n{decimals}".encode())
        assert f"a first line {first.replace(',', ', ')} that may be" in complaint(data.load, path)
    path = write(tmp_path, "mixed.csv", f"100,200,300\n1,0.25,0.5\n{decimals}".encode())
    assert "a first line 100, 200, 300 that may be either" in complaint(data.load, path)
    path = write(tmp_path, "origin.csv", f"0,0,0\n{decimals}".encode())
    assert data.load(path).shape == (len(PAIRS) + 1, 3)
    # A matrix that counts on is none.
    path = write(tmp_path, "counts.csv", b"1,2,3,4\n5,6,7,8\n9,10,11,12\n")
    np.testing.assert_array_equal(data.load(path), 1 + np.arange(12.0).reshape(3, 4))


def test_labels_without_a_name_are_not_taken_for_a_feature(tmp_path):
    features = np.random.default_rng(0).normal(size=(30, 3))
    labelled = frame(features).assign(label=np.arange(30) % 3)
    path = write(tmp_path, "labelled.csv", labelled.to_csv(header=False, index=False).encode())
    assert "a last column of 3 integers that may be labels; drop it" in complaint(data.load, path)
    # With decimals, or beside other integers, it is a feature.
    for kept in (labelled.astype(float), pd.concat([pd.Series(range(1, 60, 2)), labelled], axis=1)):
        path = write(tmp_path, "kept.csv", kept.to_csv(header=False, index=False).encode())
        assert data.load(path).shape == kept.shape


def test_decimal_commas_are_not_taken_for_separators(tmp_path):
    text = frame(FLOATS, NAMES).to_csv(sep=";", decimal=",", index=False)
    path = write(tmp_path, "commas.csv", text.encode())
    assert "write decimal points" in complaint(data.load, path)


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".txt.gz"])
@pytest.mark.parametrize("header", ["", "a b c d e", "measured\n0 1 2 3 4"])
def test_what_savetxt_writes_comes_back(tmp_path, suffix, header):
    path = tmp_path / f"rows{suffix}"
    np.savetxt(path, FLOATS, header=header)
    np.testing.assert_array_equal(data.load(path), FLOATS)


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".arrow"])
def test_a_table_without_a_library_that_reads_it_says_what_to_install(
    tmp_path, monkeypatch, suffix
):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    path = write(tmp_path, f"rows{suffix}", b"PAR1")
    assert "got none installed; install it (pip install pyarrow)" in complaint(data.load, path)


def test_tables_of_arrow_and_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    named, boxed = frame(FLOATS, NAMES), pd.DataFrame({"X": list(FLOATS), "label": range(6)})
    for table in (named, boxed, frame(FLOATS, NAMES, list("uvwxyz"))):
        table.to_parquet(tmp_path / "rows.parquet")
        np.testing.assert_array_equal(data.load(tmp_path / "rows.parquet"), FLOATS)
    named.to_feather(tmp_path / "rows.feather")
    np.testing.assert_array_equal(data.load(tmp_path / "rows.feather", limit=3), FLOATS[:3])
    named.assign(label=1).to_parquet(tmp_path / "labels.parquet")
    assert "a column named 'label'" in complaint(data.load, tmp_path / "labels.parquet")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("rows.csv.bz2", "unpack it first"),
        ("model.pt", "nothing is ever unpickled: save the arrays with np.savez"),
    ],
)
def test_what_is_packed_or_pickled_is_sent_back(tmp_path, name, match):
    assert match in complaint(data.load, write(tmp_path, name, b"PK"))


def test_a_folder_that_holds_arrays_says_so(tmp_path):
    write(tmp_path, "rows.npy", npy(ROWS))
    assert "without any that holds ['rows.npy']; name the folder that holds them, or one file" in (
        complaint(data.load, tmp_path)
    )


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("width,height\n1.5,2\n3,4.5\n", ["width", "height"]),
        (",width,height\n0,1.5,2\n1,3,4.5\n", ["width", "height"]),
        ('"a b";"c, d"\n1.5;2\n3;4.5\n', ["a b", "c, d"]),
        ("1.5,2\n3,4.5\n", None),
    ],
)
def test_names_of_features_are_those_of_the_columns_that_are_loaded(tmp_path, content, names):
    file = tmp_path / "rows.csv"
    file.write_text(content)
    assert data.names(file) == names
    assert data.load(file).shape == (2, 2)
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(content.encode()))
    assert data.names(packed) == names


def test_what_has_no_names_has_none_and_what_is_not_there_says_so(tmp_path):
    np.save(tmp_path / "rows.npy", np.eye(3))
    assert data.names("digits") is data.names(tmp_path / "rows.npy") is data.names(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="expected a file or folder"):
        data.names(tmp_path / "nowhere.csv")
    (tmp_path / "labels.csv").write_text("width,label\n1.5,2\n3,4\n")
    with pytest.raises(ValueError, match=r"labels.csv: expected features only, got a column named"):
        data.names(tmp_path / "labels.csv")
