"""Valid files of every kind that is read, and ways to spoil them.

A reader is one entry of `READERS`: a file's name, a function that writes a valid one to a path, and
one that reads it. `spoiled` takes the bytes of a valid file and a source of chance; `answer` reads
what came of it, and fails unless that gives a result without NaN or one line that names the file.
"""

import gzip
import io
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy.io import savemat

from vaesurface import data, diagnose, files, monitor, proof, report, store, vae
from vaesurface.cli import points
from vaesurface.energy import VAEParams
from vaesurface.monitor import words
from vaesurface.refusal import reading
from vaesurface.store import chunks, plans, record

__all__ = ["READERS", "Reader", "answer", "spoiled"]

ROWS = np.array([[0.0, 1.5, -2.0], [3.0, 4.25, 5.0], [6.0, 7.0, 8.5], [1.0, 1.0, 2.0]])
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
GRAY = np.random.default_rng(1).integers(0, 256, (4, 6, 5), dtype=np.uint8)
SAID = re.compile(r"expected .+, got .+; .")
LONGEST = 3000  # characters of a line that somebody reads


class Reader(NamedTuple):
    """What reads a file.

    name: of the file.
    write: a valid one, to a path.
    read: the one at a path; what is a result there.
    """

    name: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]


def answer(reader: Reader, path: Path) -> str:
    """ "read" or "refused"; an AssertionError for anything else."""
    try:
        result = reader.read(path)
    except (ValueError, FileNotFoundError) as error:
        said = str(error)
        assert SAID.search(said) and path.name in said, said
        assert said.isprintable() and len(said) < LONGEST, said
        return "refused"
    for array in _arrays(result):
        assert np.isfinite(array).all(), result
    return "read"


def _arrays(result: Any) -> list[np.ndarray]:
    """The numbers in a result."""
    if isinstance(result, dict):
        result = tuple(result.values())
    if isinstance(result, tuple | list):
        return [array for part in result for array in _arrays(part)]
    return [result] if isinstance(result, np.ndarray | float) else []


# The readers


def _packed(write: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """The same, gzipped."""

    def packed(path: Path) -> None:
        write(path)
        path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))

    return packed


def _bytes(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


def _text(path: Path) -> None:
    path.write_text("a,b,c\n" + "\n".join(",".join(map(str, row)) for row in ROWS))


def _npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, ROWS)


def _npz(**arrays: Any) -> Callable[[Path], Any]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **arrays)

    return write


def _mat(compressed: bool) -> Callable[[Path], Any]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            savemat(file, {"X": ROWS}, do_compression=compressed)

    return write


def _image(mode: str) -> Callable[[Path], Any]:
    """An image in a folder of three."""

    def write(path: Path) -> None:
        shape = (6, 5, 3) if mode == "RGB" else (6, 5)
        for name in ("x", "y"):
            other = path.with_name(f"{name}{path.suffix}")
            pixels = np.full(shape, ord(name), np.uint8)
            Image.fromarray(pixels).convert(mode).save(other)
        Image.fromarray(np.resize(GRAY, shape)).convert(mode).save(path)

    return write


def _folder(path: Path) -> np.ndarray:
    return data.load(path.parent)


def _table(form: str) -> Callable[[Path], Any]:
    def write(path: Path) -> None:
        import pyarrow
        from pyarrow import feather, ipc, parquet

        table = pyarrow.table({name: ROWS[:, j] for j, name in enumerate("abc")})
        if form == "parquet":
            parquet.write_table(table, path)
        elif form == "feather":
            feather.write_feather(table, str(path))
        else:
            with ipc.new_file(str(path), table.schema) as file:
                file.write_table(table)

    return write


def _exported(likelihood: str) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    x, noise = rng.uniform(0.2, 0.8, (12, 3)), rng.normal(size=(12, 2))
    said = {"gamma": 0.5, "beta": 1.0} if likelihood == "gaussian" else {"likelihood": likelihood}
    arrays = {"x": x, "mean": noise, "log_std": 0 * noise - 1, "reconstruction": 0.9 * x}
    return arrays | said | {"learned_gamma": False}


def _study(path: Path) -> None:
    verdict = {"name": "a", "label": "minimum", "energy": 1.0, "evidence": {"inertia": "exact"}}
    grid = [0.0, 1.0]
    mark = {"x": 0.0, "y": 0.0, "value": 1.0, "label": "saddle", "kind": 2}
    run = {"seed": 0, "label": "minimum", "energy": 1.0, "collapsed": True}
    surface = {"kind": "surface", "title": "a", "quantity": "energy", "x": grid, "y": grid}
    surface |= {"values": [grid, grid], "cap": 1.0, "marks": [mark]}
    spectrum = {"kind": "spectrum", "title": "b", "eigenvalues": grid, "negative": 0, "flat": 1}
    phase = {"kind": "phase", "title": "c", "alpha": grid, "scale": [1.0], "runs": [[[run], []]]}
    study = report.Study(
        name="study",
        title="Which?",
        said=["All."],
        verdicts=[verdict],
        interactive=[surface, spectrum, phase],
        settings={"alpha": 0.5},
        command="vaesurface sweep",
    )
    report.save(study, path.parent)


def _page(path: Path) -> str:
    return report.page([(report.load(path), path.parent)])


PROBLEM = vae.threshold_vae(data.antipodal(2), latent=1, alpha=0.5)
POINT = VAEParams(*(None if leaf is None else np.asarray(leaf) for leaf in PROBLEM.collapsed()))
SEALED: dict[str, Any] = {}  # certificates, once proved


def _certificate(claim: str) -> Callable[[Path], Any]:
    def write(path: Path) -> None:
        if claim not in SEALED:
            affine = vae.threshold_vae(data.antipodal(2), latent=1, alpha=0.0)
            make = {
                "collapse": lambda: proof.certify(PROBLEM, PROBLEM.collapsed()),
                "ray": lambda: proof.certify_unbounded(PROBLEM),
                "point": lambda: proof.certify(affine, affine.collapsed()),
            }
            SEALED[claim] = make[claim]()
        proof.save(SEALED[claim], path)

    return write


def _verified(path: Path) -> Any:
    """Verified as if the checksum were right: what is changed has to be found out by proof."""
    try:
        certificate = proof.load(path)
    except ValueError:
        content = path.read_bytes()
        try:
            certificate = proof.Certificate(**json.loads(content))
            certificate = certificate._replace(checksum=proof.certificate.checksum(certificate))
        except Exception:
            certificate = None
        if certificate is None:
            raise
    return proof.verify(certificate, PROBLEM.X).reason


def _settings(path: Path) -> Any:
    """Names of settings; what they are is checked one by one."""
    with reading("a TOML file", "mend it", path):
        return list(files.read_toml(path))


def _diagnosed(path: Path) -> Any:
    """With all that is said of it."""
    diagnosis = diagnose.load(path)
    return diagnosis.label, diagnosis.evidence, diagnosis.change, diagnosis.kl


IDX = b"\0\0\x08\3" + struct.pack(">III", 4, 6, 5) + bytes(GRAY)
FLOAT_IDX = b"\0\0\x0e\2" + struct.pack(">II", 4, 3) + ROWS.astype(">f8").tobytes()
CIFAR = b"".join(b"\1" + bytes(image) for image in PIXELS)
SVHN = {"X": PIXELS.transpose(2, 3, 1, 0)}
SETTINGS = 'data = "digits"\nlimit = 9\nalpha = [0.0, 1]\nsteps = 30\nbeta = 1.5\n'

CELLS = {"alpha": np.linspace(0.0, 1.0, 6), "seed": np.arange(6)}
PLAN = store.Plan(store.canonical({"alpha": [0.0, 0.5], "seed": range(3)}), size=4)
SWEEP = {
    "format": record.FORMAT,
    "config": {"latent": 2, "optimizer": "Adam"},
    "data": "0" * 64,
    "dtype": "float64",
    "axes": {"alpha": "float64", "seed": "int64"},
    "leaves": {"loss": [[], "float64"], "params_weight": [[2, 3], "float64"]},
}


def _chunk(path: Path) -> None:
    leaves = {"loss": np.arange(6.0), "params_weight": np.ones((6, 2, 3))}
    contents = store.Contents(CELLS, leaves, np.array(["saddle of index 1"] * 6))
    made = {"software": {"jax": "0.10"}, "seconds": 1.0, "by": "here:1"}
    chunks.write(path.parent, contents, SWEEP, made).rename(path)


def _read_chunk(path: Path) -> Any:
    found = chunks.read(path, SWEEP).contents()
    return found.cells, found.leaves


def _plan(path: Path) -> None:
    plans.keep(path.parent, PLAN)
    (path.parent / "plans" / path.name).rename(path)


def _read_plan(path: Path) -> Any:
    return tuple(axis.values for axis in plans.read_one(path).axes.values())


def _run(path: Path) -> None:
    """A monitor's record of three looks."""
    watching = monitor.Monitor(path, every=1, warn=lambda _: None)
    x, off = np.hstack([ROWS] * 2), np.zeros((len(ROWS), 2))
    for step in range(3):
        watching.update(step, x=x, mean=off, log_std=off, reconstruction=0 * x, gamma=1.0)
    watching.finish()


def _run_page(path: Path) -> str:
    """Of a record, without its figure, which takes long."""
    kept = monitor.load(path)
    found = monitor.course(kept.updates) if kept.updates else None
    return words.state(kept.updates, found) if found else "no look"


READERS = [
    Reader(
        "store.json",
        lambda path: record.write(path.parent, SWEEP | {"software": []}),
        lambda path: record.read(path.parent),
    ),
    Reader("chunk.npz", _chunk, _read_chunk),
    Reader(f"{PLAN.name}.npz", _plan, _read_plan),
    Reader("rows.npy", _npy, data.load),
    Reader("rows.npz", _npz(X=ROWS), data.load),
    Reader("packed.npy.gz", _packed(_npy), data.load),
    Reader("rows.csv", _text, data.load),
    Reader("rows.csv.gz", _packed(_text), data.load),
    Reader("rows.tsv", lambda path: np.savetxt(path, ROWS, delimiter="\t"), data.load),
    Reader("rows.mat", _mat(compressed=False), data.load),
    Reader("small.mat", _mat(compressed=True), data.load),
    Reader("svhn.mat", lambda path: savemat(path, SVHN), data.load),
    Reader("named.mat", _mat(compressed=True), lambda path: list(data.named(path))),
    Reader("rows.idx", _bytes(IDX), data.load),
    Reader("floats.idx.gz", _packed(_bytes(FLOAT_IDX)), data.load),
    Reader("cifar.bin", _bytes(CIFAR), data.load),
    Reader("a.png", _image("RGB"), _folder),
    Reader("a.gif", _image("P"), _folder),
    Reader("a.jpg", _image("L"), _folder),
    Reader("a.bmp", _image("1"), _folder),
    Reader("a.tif", _image("L"), _folder),
    Reader("a.webp", _image("RGB"), _folder),
    Reader("a.ppm", _image("RGB"), _folder),
    Reader("gaussian.npz", _npz(**_exported("gaussian")), _diagnosed),
    Reader("bernoulli.npz", _npz(**_exported("bernoulli")), _diagnosed),
    Reader("study.json", _study, _page),
    Reader("run.jsonl", _run, _run_page),
    Reader("collapse.json", _certificate("collapse"), _verified),
    Reader("ray.json", _certificate("ray"), _verified),
    Reader("point.json", _certificate("point"), _verified),
    Reader("point.npz", _npz(**POINT._asdict()), lambda path: points._read_point(path, POINT)),
    Reader("sweep.toml", _bytes(SETTINGS.encode()), _settings),
]
if find_spec("pyarrow"):
    READERS += [
        Reader(f"rows.{form}", _table(form), data.load) for form in ("parquet", "feather", "arrow")
    ]

# How they are spoiled


def spoiled(content: bytes, chance: random.Random) -> bytes:
    """A file's bytes after one to three accidents: to its bytes, or to what these say."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        content = chance.choice((*_inner(content), _bits, _bits, *BLIND))(content, chance)
    return content


def _inner(content: bytes) -> list[Callable[[bytes, random.Random], bytes]]:
    """Ways to spoil what the bytes say, by what they look like; as many as there are blind ones, so
    that checksums and signatures do not keep all damage out."""
    looks = {b"PK": _archive, b"\x1f\x8b": _gzipped, b"MA": _matlab, b"{": _json}
    for begins, way in looks.items():
        if content.startswith(begins):
            return [way] * len(BLIND)
    return [_words] * (len(BLIND) if content[:512].isascii() else 1)


def _place(content: bytes, chance: random.Random) -> int:
    """A place in the bytes, half of the time in what is likely a header."""
    last = len(content) if chance.random() < 0.5 else min(len(content), 160)
    return chance.randrange(last + 1)


def _bits(content: bytes, chance: random.Random) -> bytes:
    spoiled = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        if spoiled:
            spoiled[min(_place(content, chance), len(spoiled) - 1)] ^= chance.randrange(1, 256)
    return bytes(spoiled)


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: _place(content, chance)]


def _spliced(content: bytes, chance: random.Random) -> bytes:
    """A part in the place of another: longer, shorter, elsewhere."""
    a, b = sorted(_place(content, chance) for _ in range(2))
    c, d = sorted(_place(content, chance) for _ in range(2))
    return content[:a] + content[c:d] + content[b:]


def _doubled(content: bytes, chance: random.Random) -> bytes:
    a, b = sorted(_place(content, chance) for _ in range(2))
    return content[:b] * chance.choice((1, 2)) + content[a:]


def _numbered(content: bytes, chance: random.Random) -> bytes:
    """A number in a header that claims too much, too little or less than nothing."""
    number = chance.choice((0, 1, -1, 2, 255, 2**15, 2**31 - 1, -(2**31), 2**50, -(2**63)))
    size = chance.choice((1, 2, 4, 8))
    order = chance.choice(("little", "big"))
    at = _place(content, chance)
    new = (number % 2 ** (8 * size)).to_bytes(size, order)
    return content[:at] + new + content[at + size :]


BLIND = (_bits, _cut, _spliced, _doubled, _numbered)
TOKENS = (
    *("", "-1", "0", "1e999", "nan", "-inf", "9" * 30, "9" * 5000, "1e308", "true", "[]", "{}"),
    *("None", '"', "'", ",", ";", "\t", "\n", "=", "#", "\0", "\x1b[31m", "é", "\u2028", "x" * 200),
    *("[" * 3000, "{'a':" * 500, "|O", ">f8", "<U9", "<c16", "<M8[s]", "b1", "(1,)", "10**9"),
    *("1979-05-27", "1_000", "0x1", "1,5"),
)


def _words(content: bytes, chance: random.Random) -> bytes:
    """A word of a text, or of the header of an .npy, replaced."""
    words = list(re.finditer(rb"[A-Za-z0-9_.+-]+", content[:4096])) or [re.match(b"", content)]
    word = chance.choice(words)
    return content[: word.start()] + chance.choice(TOKENS).encode() + content[word.end() :]


def _archive(content: bytes, chance: random.Random) -> bytes:
    """Members of a zip renamed, removed, doubled or spoiled, with checksums that fit."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:
        return _bits(content, chance)
    if members:
        at = chance.randrange(len(members))
        name, inside = members[at]
        members[at : at + 1] = chance.choice(
            (
                [(chance.choice((f"_{name}", name[:-4], "../x.npy", "X.npy", "é")), inside)],
                [],
                [(name, inside), (f"2{name}", inside)],
                [(name, chance.choice(members)[1])],
                [(name, _member(chance))],
                [(name, spoiled(inside, chance))],
                [(name, spoiled(inside, chance))],
            )
        )
    made, method = io.BytesIO(), chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with warnings.catch_warnings(), zipfile.ZipFile(made, "w", method) as new:
        warnings.simplefilter("ignore")  # names that are there already
        for name, inside in members:
            new.writestr(zipfile.ZipInfo(name), inside)
    return made.getvalue()


ODD: tuple[Any, ...] = (
    *(np.nan, np.inf, 0, -1, 1e308, -1e-320, "word", b"\xff", True, 1j, None),
    *(np.zeros(0), np.zeros((0, 3)), np.ones((2, 2, 2)), np.full((12, 2), 1e200)),
    *(np.zeros((12, 3)), np.full((12, 2), np.nan), np.ones((12, 3), np.float16)),
    *(np.array(["2020-01-01"], "M8[D]"), np.zeros(2, [("a", float)]), np.ones((12, 2), int)),
)


def _member(chance: random.Random) -> bytes:
    """An array of another kind."""
    made = io.BytesIO()
    np.save(made, np.asarray(chance.choice(ODD)), allow_pickle=True)
    return made.getvalue()


def _gzipped(content: bytes, chance: random.Random) -> bytes:
    try:
        inside = gzip.decompress(content)
    except Exception:
        return _bits(content, chance)
    return gzip.compress(spoiled(inside, chance), mtime=0)


def _matlab(content: bytes, chance: random.Random) -> bytes:
    """What a compressed variable holds, spoiled; or one that is not compressed."""
    try:
        inside = zlib.decompress(content[136:])
    except zlib.error:
        return chance.choice(BLIND)(content, chance)
    packed = zlib.compress(spoiled(inside, chance))
    return content[:132] + struct.pack("<I", len(packed)) + packed


def _json(content: bytes, chance: random.Random) -> bytes:
    """A value in JSON replaced by one of another type, a name changed or removed."""
    try:
        tree = json.loads(content)
    except Exception:
        return _words(content, chance)
    place, key = chance.choice(list(_places(tree)) or [([tree], 0)])
    value = place[key]
    if isinstance(place, dict) and chance.random() < 0.3:
        del place[key]
        if chance.random() < 0.5:
            place[chance.choice(("", "x", key.upper(), f" {key}"))] = value
    else:
        place[key] = chance.choice(VALUES)(value)
    return (json.dumps(tree, indent=1) + "\n").encode()


VALUES: tuple[Callable[[Any], Any], ...] = (
    *(lambda value, new=new: new for new in (None, True, 0, -1, 10**18, 10**400, 1e308, "", "x")),
    *(lambda value, new=new: new for new in ([], {}, [[]], {"a": []}, float("nan"), 1e-320, 0.5)),
    lambda value: [value],
    lambda value: {"a": value},
    lambda value: str(value),
    lambda value: -value if isinstance(value, float) else value,
    lambda value: value * 2 if isinstance(value, str | list | float) else value,
    lambda value: value[:-1] if isinstance(value, str | list) else value,
    lambda value: json.loads("[" * 200 + "]" * 200),
)


def _places(tree: Any) -> Any:
    """Where values are: containers and keys."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(pairs):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)
