"""What a stranger's file can do: be refused, in one line and before it has taken memory."""

import gzip
import io
import json
import os
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from vaesurface import data, diagnose, files, proof, report
from vaesurface.report import Figure, Study

LIMIT = 2**22  # bytes that files may take here
BOMB = 2**28  # bytes that they would
ONE_LINE = r"\A[^\n]*expected [^\n]+, got [^\n]+; [^\n]+\Z"


@pytest.fixture
def limited(monkeypatch):
    monkeypatch.setenv("VAESURFACE_MAX_BYTES", str(LIMIT))


def header(shape, dtype="<f8"):
    """Of an .npy."""
    buffer = io.BytesIO()
    about = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, about)
    return buffer.getvalue()


def archive(name="X.npy", content=b"", packing=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as file:
        file.writestr(name, content)
    return buffer.getvalue()


def bomb_npz():
    return archive(content=header((BOMB // 80, 10)) + bytes(BOMB))


def lying_npz():
    """Its list of members tells of few bytes where there are many."""
    content = bomb_npz()
    size = len(header((BOMB // 80, 10))) + BOMB
    assert content.count(struct.pack("<L", size)) == 2
    return content.replace(struct.pack("<L", size), struct.pack("<L", 1000))


def claiming_npz():
    """Its array's header tells of more than its member holds."""
    return archive(content=header((2**40, 2**10)) + bytes(80))


def crowded_npz():
    """As many members as a list of some megabytes tells of."""
    fields = (20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    listed = 20_000 * (struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", *fields) + b"a")
    return b"PK\3\4" + listed + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listed), 4, 0)


def large_npz():
    """Where the length of that list is told is told elsewhere, as in archives of gigabytes."""
    content = crowded_npz()
    end, listed = content[-22:], content[4:-22]
    size = len(listed)
    other = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 20_000, 20_000, size, 4)
    place = struct.pack("<4sLQL", b"PK\6\7", 0, 4 + size, 1)
    return content[:-22] + other + place + end[:12] + struct.pack("<L", 46) + end[16:]


def mat(packed=True, **arrays):
    buffer = io.BytesIO()
    savemat(buffer, arrays, do_compression=packed)
    return buffer.getvalue()


def cell_mat():
    """A cell array of eight, whose header tells of 2^30."""
    cells = np.empty((1, 8), dtype=object)
    cells[:] = 1.0
    content = mat(packed=False, X=cells)
    shape = struct.pack("<ii", 1, 8)
    at = content.index(shape, 128)
    return content[:at] + struct.pack("<ii", 1, 2**30) + content[at + 8 :]


def lying_mat():
    """A number, told to be one and followed by many."""
    about = struct.pack("<8L", 6, 8, 6, 0, 5, 8, 1, 1) + struct.pack("<HH", 1, 1) + b"X\0\0\0"
    inner = struct.pack("<LL", 14, len(about) + 8 + BOMB) + about + struct.pack("<LL", 9, BOMB)
    packed = zlib.compress(inner + bytes(BOMB))
    start = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 256) + b"IM"
    return start + struct.pack("<LL", 15, len(packed)) + packed


def old_mat():
    """Version 4: a matrix of 2^31 - 1 by 2^31 - 1, and nothing."""
    return struct.pack("<5i", 0, 2**31 - 1, 2**31 - 1, 0, 2) + b"X\0" + bytes(80)


def idx(*shape):
    return struct.pack(f">BBBB{len(shape)}L", 0, 0, 8, len(shape), *shape)


BOMBS = {
    "zeros.csv.gz": lambda: gzip.compress(bytes(BOMB)),
    "lines.csv.gz": lambda: gzip.compress(b"1\n" * (LIMIT // 16)),
    "parts.csv.gz": lambda: 64 * gzip.compress(bytes(2**20)),
    "images.idx.gz": lambda: gzip.compress(idx(2**18, 32, 32) + bytes(BOMB)),
    "pixels.idx.gz": lambda: gzip.compress(idx(2**10, 32, 32) + bytes(2**20)),  # times 8
    "claims.idx": lambda: idx(2**31, 2**31) + bytes(100),
    "train.bin.gz": lambda: gzip.compress(bytes(3073 * 2**16)),
    "zeros.npy.gz": lambda: gzip.compress(header((BOMB // 80, 10)) + bytes(BOMB)),
    "bytes.npy": lambda: header((2**10, 2**10), "|i1") + bytes(2**20),  # times 8
    "claims.npy": lambda: header((2**40, 2**10)) + bytes(80),
    "voids.npy": lambda: header((2**40,), "|V0"),
    "zeros.npz": bomb_npz,
    "lying.npz": lying_npz,
    "claims.npz": claiming_npz,
    "crowded.npz": crowded_npz,
    "large.npz": large_npz,
    "zeros.npz.gz": lambda: gzip.compress(archive(packing=zipfile.ZIP_STORED, content=bytes(BOMB))),
    "text.npz": lambda: archive("X", bytes(BOMB)),
    "lzma.npz": lambda: archive(packing=zipfile.ZIP_LZMA, content=header((8, 8)) + bytes(512)),
    "zeros.mat": lambda: mat(X=np.zeros((BOMB // 800, 100))),
    "lying.mat": lying_mat,
    "sparse.mat": lambda: mat(X=csc_matrix(([1.0], ([0], [0])), shape=(2**16, 2**16))),
    "cell.mat": cell_mat,
    "old.mat": old_mat,
    "text.mat": lambda: mat(X=np.array([BOMB // 16 * "a"])),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_larger_than_it_looks_is_refused_before_it_takes_memory(tmp_path, limited, name):
    path = tmp_path / name
    path.write_bytes(BOMBS[name]())
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=ONE_LINE):
            data.load(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * LIMIT + 2**21


def test_a_raised_limit_lets_in_what_it_refused(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(1000 * b"1.5,2\n2,3\n"))
    monkeypatch.setenv("VAESURFACE_MAX_BYTES", "100000")
    with pytest.raises(ValueError, match=r"unpacked, got .* set VAESURFACE_MAX_BYTES to"):
        data.load(path)
    monkeypatch.setenv("VAESURFACE_MAX_BYTES", "1000000")
    assert data.load(path).shape == (2000, 2)


def test_a_large_file_that_is_within_bounds_is_unpacked_whole(tmp_path, monkeypatch):
    from vaesurface.data import refusal

    monkeypatch.setattr(refusal, "KEPT", 100)
    rows = np.arange(2000.0).reshape(-1, 2)
    np.save(tmp_path / "rows.npy", rows)
    packed = tmp_path / "rows.npy.gz"
    packed.write_bytes(gzip.compress((tmp_path / "rows.npy").read_bytes()))
    np.testing.assert_array_equal(data.load(packed), rows)


def test_a_limit_of_rows_helps_where_only_these_are_converted(tmp_path, limited):
    path = tmp_path / "pixels.idx"
    path.write_bytes(idx(2**10, 32, 32) + np.random.default_rng(0).bytes(2**20))
    assert data.load(path, limit=10).shape == (10, 1024)


def test_images_are_counted_before_and_while_they_are_read(tmp_path, limited):
    Image.fromarray(np.zeros((2000, 2000), np.uint8)).save(tmp_path / "0.png")
    with pytest.raises(ValueError, match=ONE_LINE):
        data.load(tmp_path)
    for number in range(10):
        Image.fromarray(np.zeros((300, 300), np.uint8)).save(tmp_path / f"{number}.png")
    with pytest.raises(ValueError, match="in float64, got"):
        data.load(tmp_path)


def test_an_image_is_what_pillow_decodes_itself(tmp_path):
    """Others it would hand to Ghostscript."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    with pytest.raises(ValueError, match=r"a\.png: expected an image, whole"):
        data.load(tmp_path)


READERS = {
    "rows.npy": data.load,
    "rows.csv": data.load,
    "rows.mat": data.load,
    "rows.bin": data.load,
    "rows": data.load,
    "export.npz": diagnose.load,
    "certificate.json": proof.load,
    "study.json": report.load,
}


@pytest.mark.parametrize("name", READERS)
def test_pipes_and_devices_are_refused_and_not_waited_for(tmp_path, name):
    for kind in ("pipe", "device"):
        path = tmp_path / kind / name
        path.parent.mkdir()
        os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
        with pytest.raises(ValueError, match=r"expected a (regular file|place inside)") as caught:
            READERS[name](path)
        assert "\n" not in str(caught.value)


def test_a_folder_with_a_pipe_for_an_image_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"expected a regular file, got .*a\.png, a pipe"):
        data.load(tmp_path)


def tables():
    """Tables of few bytes that hold many numbers, by name of their file."""
    import pyarrow as pa

    zeros = pa.array(np.zeros(BOMB // 8))
    rows = pa.ListArray.from_arrays([0, len(zeros) // 2, len(zeros)], zeros)
    named = pa.DictionaryArray.from_arrays(pa.array(np.zeros(LIMIT, np.int8)), pa.array([1.0]))
    return {
        "zeros.parquet": zeros,
        "zeros.feather": zeros,
        "zeros.arrow": zeros,
        "rows.parquet": rows,
        "rows.arrow": rows,
        "dictionary.arrow": named,
        "nothing.arrow": pa.nulls(BOMB),
        "lists.arrow": pa.FixedSizeListArray.from_arrays(pa.nulls(BOMB), BOMB),
    }


def test_tables_of_arrow_and_parquet_are_counted_before_they_are_unpacked(tmp_path, limited):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import feather, ipc, parquet

    packed = ipc.IpcWriteOptions(compression="zstd")
    for name, column in tables().items():
        path, table = tmp_path / name, pa.table({"X": column})
        if path.suffix == ".parquet":
            parquet.write_table(table, path)
        elif path.suffix == ".feather":
            feather.write_feather(table, path, compression="lz4", chunksize=len(column))
        else:
            with ipc.new_stream(path, table.schema, options=packed) as stream:
                stream.write_table(table)
        assert path.stat().st_size < LIMIT
        before = pa.total_allocated_bytes()
        with pytest.raises(ValueError, match=ONE_LINE):
            data.load(path)
        assert pa.total_allocated_bytes() - before < 2 * LIMIT


@pytest.mark.parametrize("packing", [None, "lz4", "zstd"])
@pytest.mark.parametrize("suffix", [".feather", ".arrow", ".stream.arrow"])
def test_packed_tables_are_read(tmp_path, limited, packing, suffix):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import ipc

    rows = np.random.default_rng(0).standard_normal((6, 3))
    path, table = tmp_path / f"rows{suffix}", pa.table(dict(zip("abc", rows.T, strict=True)))
    new = ipc.new_stream if "stream" in suffix else ipc.new_file
    options = ipc.IpcWriteOptions(compression=packing)
    with new(path, table.schema, options=options) as file:
        file.write_table(table)
    np.testing.assert_array_equal(data.load(path), rows)


def test_many_classes_take_no_square_of_them():
    classes = 50_000
    answer = np.full((2, classes), 1 / classes)
    labels = np.array([0, classes - 1])
    tracemalloc.start()
    try:
        x, _ = diagnose.likelihoods.one_hot(labels, answer, None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert x.sum() == 2 and x[1, -1] == 1 and peak < 10 * x.nbytes


# The command line


def test_a_point_from_a_stranger_is_bounded(vaesurface, tmp_path, limited):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "bomb.npz").write_bytes(archive("weight.npy", header((2**25, 1)) + bytes(2**28)))
    for name in ("pipe.npz", "bomb.npz"):
        line = f"analyze --data antipodal --latent 1 --point {tmp_path / name}"
        code, out, err = vaesurface(line)
        assert (code, out, err.count("\n")) == (2, "", 1) and "expected" in err


@pytest.mark.parametrize("content", ["alpha = " + 10**5 * "[", "a" + 100 * ".a" + " = 1", None])
def test_settings_from_a_stranger_are_bounded(vaesurface, tmp_path, content):
    path = tmp_path / "settings.toml"
    os.mkfifo(path) if content is None else path.write_text(content)
    code, out, err = vaesurface(f"sweep --out {tmp_path / 'new'} --config {path}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "settings.toml" in err and not (tmp_path / "new").exists()


def deep(depth):
    return depth * '{"a":' + "1" + depth * "}"


@pytest.mark.parametrize("content", [deep(100_000), deep(90), '{"verdicts": ' + 10**6 * "[" + "}"])
def test_json_that_is_nested_deeply_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=r"\Aexpected JSON, [^\n]*a.json: [^\n]*again\Z"):
        report.studies(tmp_path)
    for load in (proof.load, report.load):
        with pytest.raises(ValueError, match=r"\Aexpected a [^\n]*a.json: [^\n]*again\Z"):
            load(tmp_path / "a.json")


# A directory from somebody else


def study(**fields):
    return files.plain(Study("path", "A way out", **fields)._asdict()) | {"format": 1}


@pytest.fixture
def foreign(tmp_path):
    """A directory that somebody sent, and a picture beside it that is none of theirs."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "secret.png")
    return folder


OUTSIDE = (
    "../secret.png",
    "{}/secret.png",
    "link.png",
    "up/secret.png",
    "..\\secret.png",
    "/dev/zero",
)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_page_shows_no_figure_from_outside(vaesurface, tmp_path, foreign, name):
    (foreign / "link.png").symlink_to("../secret.png")
    (foreign / "up").symlink_to("..")
    figures = [{"file": name.format(tmp_path), "caption": ""}]
    (foreign / "a.json").write_text(json.dumps(study() | {"figures": figures}))
    code, out, err = vaesurface(f"report {foreign}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "inside" in err and not (foreign / "report.html").exists()


def test_a_page_shows_a_figure_that_a_link_inside_leads_to(vaesurface, foreign):
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(foreign / "own.png")
    (foreign / "link.png").symlink_to("own.png")
    figures = [{"file": "link.png", "caption": ""}]
    (foreign / "a.json").write_text(json.dumps(study() | {"figures": figures}))
    assert vaesurface(f"report {foreign}")[0] == 0


def test_figures_are_bounded_together(foreign, monkeypatch):
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(foreign / "own.png")
    many = Study("a", "A", figures=1000 * [Figure("own.png", "")])
    monkeypatch.setenv("VAESURFACE_MAX_BYTES", str(16 * 50_000))
    with pytest.raises(ValueError, match="expected at most 50000 bytes of figures on a page"):
        report.page([(many, foreign)])


@pytest.mark.parametrize("place", ["a.json", "report", "sweep", "sweep/store.json", "sweep/chunks"])
def test_a_page_is_of_one_directory_and_no_link_out_of_it(vaesurface, tmp_path, foreign, place):
    outside = tmp_path / "outside"
    (outside / "chunks").mkdir(parents=True)
    for name in ("a.json", "store.json"):
        (outside / name).write_text(json.dumps(study() | {"config": {"source": "digits"}}))
    leads = {"report": ".", "sweep": "."}.get(place, place.rpartition("/")[2])
    (foreign / place).parent.mkdir(exist_ok=True)
    if place == "sweep/chunks":
        (foreign / "sweep" / "store.json").write_text("{}")
    (foreign / place).symlink_to(outside / leads)
    before = sorted(outside.rglob("*"))
    code, out, err = vaesurface(f"report {foreign}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "inside" in err and "out of it" in err
    assert sorted(outside.rglob("*")) == before


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_study_that_is_no_file_is_not_waited_for(vaesurface, foreign, kind):
    path = foreign / "a.json"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    code, _, err = vaesurface(f"report {foreign}")
    assert (code, err.count("\n")) == (2, 1) and "a.json" in err


SOURCES = ("mnist", "/dev/zero", "../secret.png", "{}/secret.png", "~/x.npy", "http://a/b", 3, None)


@pytest.mark.parametrize("source", SOURCES)
def test_data_that_a_stranger_names_are_not_touched(
    vaesurface, tmp_path, foreign, monkeypatch, source
):
    touched = []
    monkeypatch.setattr(data.source, "load", lambda *_, **__: touched.append(1))
    monkeypatch.setattr(data, "load", lambda *_, **__: touched.append(1))
    source = source.format(tmp_path) if isinstance(source, str) else source
    (foreign / "store.json").write_text(json.dumps({"config": {"source": source}}))
    code, out, err = vaesurface(f"report {foreign}")
    assert (code, out, err.count("\n"), touched) == (2, "", 1, [])
    assert "expected data that ship or lie in" in err and "--data" in err


def test_sources_that_ship_or_lie_inside_are_trusted(tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", data.antipodal(2))
    (tmp_path / "link.npy").symlink_to("rows.npy")
    (tmp_path / "out.npy").symlink_to("/dev/zero")
    images = tmp_path / "images"
    images.mkdir()
    assert data.within("digits-4x4", tmp_path) == "digits-4x4"
    real = str((tmp_path / "rows.npy").resolve())
    assert data.within(str(tmp_path / "rows.npy"), tmp_path) == real
    assert data.within(str(tmp_path / "link.npy"), tmp_path) == real
    assert data.within(str(images), tmp_path) == str(images.resolve())
    monkeypatch.chdir(tmp_path)
    assert data.within("rows.npy", tmp_path) == real
    (images / "a.png").symlink_to("/etc/passwd")
    for source in (tmp_path / "out.npy", images, tmp_path / "images" / ".." / ".." / "x.npy"):
        with pytest.raises(ValueError, match=r"\Aexpected .*, got .*; "):
            data.within(str(source), tmp_path)


# What a page embeds

NASTY = "</script><img src=x onerror=alert(1)>\"'&<!--${style}\ud800\u2028"
LINK = '<a href="https://example.org">click</a>'


def nasty_study():
    surface = {
        "kind": "surface",
        "x": [0, 1],
        "y": [0, 1],
        "values": [[0, 1], [1, 0]],
        "cap": 1.0,
        "quantity": LINK,
        "title": LINK,
        "caption": NASTY,
        "marks": [{"x": 0, "y": 0, "value": 0.0, "label": LINK, "kind": 2}],
    }
    spectrum = {
        "kind": "spectrum",
        "title": LINK,
        "eigenvalues": [-1.0, 1.0],
        "negative": 1,
        "flat": 0,
    }
    run = {"seed": NASTY, "label": NASTY, "energy": 1.0, "collapsed": True, NASTY: NASTY}
    phase = {"kind": "phase", "title": LINK, "alpha": [0], "scale": [1], "runs": [[[run]]]}
    return Study(
        name='drawn" onclick="alert(1)',
        title=NASTY,
        said=[NASTY],
        verdicts=[{"name": NASTY, "label": NASTY, "energy": 1.0, "evidence": {NASTY: NASTY}}],
        interactive=[surface, spectrum, phase],
        settings={NASTY: NASTY},
        command=NASTY,
        software={NASTY: NASTY},
    )


def test_what_a_stranger_wrote_is_text_on_a_page(tmp_path):
    page = report.page([(nasty_study(), tmp_path)], NASTY)
    page.encode()  # as it is written
    assert "<img" not in page and '<a href="http' not in page and 'onclick="' not in page
    assert page.count("</script>") == 3
    start = page.index('id="drawn">') + len('id="drawn">')
    figures = json.loads(page[start : page.index("</script>", start)])
    texts = json.dumps([figure for figure in figures if "layout" in figure])
    assert "<a" not in texts and "&lt;a href" in texts  # plotly would make links of them
    assert page.count('id="drawn"') == 1


WRONG = {
    "said": 3,
    "verdicts": [3],
    "figures": [{"file": "a.png"}],
    "interactive": ["surface"],
    "settings": [1],
    "title": None,
}


@pytest.mark.parametrize("field", WRONG)
def test_a_study_of_another_form_is_one_line(tmp_path, field):
    (tmp_path / "a.json").write_text(json.dumps(study() | {field: WRONG[field]}))
    with pytest.raises(ValueError, match=r"\Aexpected a study of vaesurface, got [^\n]*; make it"):
        report.studies(tmp_path)


SPECTRUM = {"kind": "spectrum", "title": "", "eigenvalues": [1.0], "negative": 0, "flat": 0}
NO_NUMBERS = (
    {"kind": ["surface"]},
    {"kind": "surface"},
    SPECTRUM | {"flat": 10**12},
    SPECTRUM | {"negative": -(10**12)},
    SPECTRUM | {"eigenvalues": ["1"]},
    SPECTRUM | {"eigenvalues": [0.0]},
    {"kind": "phase", "title": "", "alpha": ["<b>"], "scale": [1], "runs": [[[]]]},
    {"kind": "phase", "title": "", "alpha": [1], "scale": [1], "runs": [[["run"]]]},
    {
        **{"kind": "surface", "title": "", "quantity": "", "cap": 1, "marks": []},
        **{"x": [LINK], "y": [0], "values": [[0]]},
    },
)


@pytest.mark.parametrize("numbers", NO_NUMBERS)
def test_figures_without_their_numbers_are_one_line(tmp_path, numbers):
    with pytest.raises(ValueError, match=r"expected [^\n]*, got [^\n]*; make the study again\Z"):
        report.page([(Study("a", "A", interactive=[numbers]), tmp_path)])
