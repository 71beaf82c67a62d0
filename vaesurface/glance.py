"""What does a result show of itself where it is printed? Its verdict, key numbers and shapes.

`brief` gives a class a short `repr` and a small table for notebooks (`_repr_html_`), of what the
names that it is told hold. Whatever holds no numbers yet, as inside `jit`, shows its shapes.

>>> from typing import NamedTuple
>>> import numpy as np
>>> @brief("loss", "params", title="label")
... class End(NamedTuple):
...     label: str
...     loss: float
...     params: dict
>>> End("local minimum", 4.386294361, {"weight": np.zeros((16, 2)), "bias": np.ones(16)})
End: local minimum
  loss=4.3862944, params=(weight (16, 2), bias (16,))
"""

import dataclasses
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum
from html import escape
from typing import Any, NamedTuple, TypeVar

import numpy as np

from vaesurface.refusal import is_traced, line

__all__ = ["brief"]

WIDTH = 100  # columns of a line
LINES = 6  # that a `repr` has at most
FEW = 6  # numbers that are shown one by one
COUNTED = 4  # different words that are counted one by one
LONG = 160  # characters of a value
MANY = 10**6  # numbers of an array from which its smallest and largest are not looked for
SMALL, LARGE = 1e-4, 1e7  # size of a number that is shown with all its digits
Class = TypeVar("Class", bound=type)


class _Brief(NamedTuple):
    """What a class shows.

    names: of fields, properties and methods without arguments; none stands for all fields.
    title: the one that the first line holds; "" for none.
    """

    names: tuple[str, ...]
    title: str


def brief(*names: str, title: str = "") -> Callable[[Class], Class]:
    """Decorator of a class: `repr` and `_repr_html_` show those of its fields and properties; with
    no names, all fields.

    title: the one that stands in the first line, such as "label". Nothing else about the class
    changes, and classes that inherit show the same.
    """

    def decorate(cls: Class) -> Class:
        cls._glance = _Brief(names, title)  # type: ignore[attr-defined]
        cls.__repr__ = _text  # type: ignore[assignment]
        cls._repr_html_ = _html  # type: ignore[attr-defined]
        return cls

    return decorate


def _text(value: Any) -> str:
    """The `repr` of a brief class."""
    name, title = type(value).__name__, _title(value)
    rows = [f"{key}={_cut(_said(entry), LONG)}" for key, entry in _rows(value).items()]
    flow = ", ".join(rows)
    if not title and len(name) + len(flow) + 2 <= WIDTH:
        return f"{name}({flow})"
    below = textwrap.wrap(
        flow,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
        max_lines=LINES - 1,
        placeholder=" ...",
        break_on_hyphens=False,
    )
    return "\n".join([_cut(f"{name}: {title}" if title else name, WIDTH), *below])


def _html(value: Any) -> str:
    """Its table. No color is set, so that it reads on light and on dark pages alike."""
    name, title = type(value).__name__, _title(value)
    rows = []
    for key, entry in _rows(value).items():
        if _is_told(entry):
            rows += [(f"{key}: {topic}", line(sentence)) for topic, sentence in entry.items()]
        else:
            rows.append((key, _said(entry)))
    left = "text-align: left; vertical-align: top"
    body = "".join(
        f'<tr><th style="{left}; white-space: nowrap">{escape(key)}</th>'
        f'<td style="{left}">{escape(text)}</td></tr>'
        for key, text in rows
    )
    heading = f"<b>{escape(name)}</b>" + (f": {escape(title)}" if title else "")
    return (
        f'<table><caption style="text-align: left; caption-side: top; color: inherit">{heading}'
        f"</caption><tbody>{body}</tbody></table>"
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _title(value: Any) -> str:
    """What the first line says beside the class; "" where nothing can be said."""
    name = type(value)._glance.title
    held = {} if not name or _is_empty(value) else _got(value, [name])
    return _said(held[name]) if name in held else ""


def _rows(value: Any) -> dict[str, Any]:
    """What is shown of a value, by name.

    Of one that is traced, fields alone: to read it in words would be part of what is traced. Of
    many at once, fields among its names: words for each take long.
    """
    fields = _fields(value)
    names: Iterable[str] = type(value)._glance.names or fields
    if _is_empty(value):
        names = fields
    elif _is_many(value):
        names = [name for name in names if name in fields]
    return _got(value, names)


def _is_many(value: Any) -> bool:
    """Whether it has leading axes, by its title's."""
    name = type(value)._glance.title
    return bool(name) and np.shape(_got(value, [name]).get(name, "")) != ()


def _got(value: Any, names: Iterable[str]) -> dict[str, Any]:
    """Those of them that can be had: a value that is half made shows itself all the same."""
    held = {}
    for name in names:
        try:
            entry = getattr(value, name)
            held[name] = entry() if name not in _fields(value) and callable(entry) else entry
        except Exception:  # a property may raise anything on what JAX puts in a field's place
            continue
    return held


def _fields(value: Any) -> list[str]:
    if isinstance(value, tuple):
        return list(value._fields)  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    return list(vars(value))


def _is_empty(value: Any) -> bool:
    """Whether numbers in it are traced, and so not known yet."""
    if isinstance(value, Mapping):
        return any(map(_is_empty, value.values()))
    if isinstance(value, tuple | list):
        return any(map(_is_empty, value))
    if hasattr(type(value), "_glance"):
        return any(_is_empty(getattr(value, name, None)) for name in _fields(value))
    return is_traced(value)


def _is_told(value: Any) -> bool:
    """Whether it is sentences by topic."""
    told = isinstance(value, Mapping) and bool(value)
    return told and all(isinstance(entry, str) for entry in value.values())


def _said(value: Any) -> str:
    """A value in one line: numbers as they are where they are few, else shapes and ranges."""
    if isinstance(value, Enum):
        return value.name.lower().replace("_", " ")
    if value is None or isinstance(value, bool | int | str):
        return line(str(value))
    if isinstance(value, float):
        return _number(value)
    if _is_told(value):  # each sentence begins with its status
        statuses = (f"{topic} {sentence.split(':')[0]}" for topic, sentence in value.items())
        return f"({', '.join(statuses)})"
    if hasattr(type(value), "_glance") and (title := _title(value)):
        return title
    if _is_array(value):
        return _array(value)
    if (parts := _parts(value)) is not None:
        return f"({', '.join(f'{name} {_within(part)}' for name, part in parts.items())})"
    if isinstance(value, list | tuple | set | frozenset):
        return _items(value)
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    text = line(str(value))
    return text if len(text) <= WIDTH // 2 else type(value).__name__


def _within(value: Any) -> str:
    """A part of a value: shapes, but for single numbers."""
    if _is_array(value) and value.shape:
        counted = value.dtype.kind == "i" and not is_traced(value) and value.size
        return _span(np.asarray(value)) if counted else str(tuple(value.shape))
    if isinstance(value, Mapping) or (_parts(value) is not None and not _is_empty(value)):
        arrays = list(_arrays(value))
        return f"{sum(array.size for array in arrays)} numbers in {len(arrays)} arrays"
    return _said(value)


def _arrays(value: Any) -> Iterable[Any]:
    """All arrays in nested parts."""
    parts = value if isinstance(value, list | tuple) else (_parts(value) or {}).values()
    for part in parts:
        if _is_array(part):
            yield part
        else:
            yield from _arrays(part)


def _parts(value: Any) -> Mapping[str, Any] | None:
    """The named parts of a dict, a named tuple or a brief class; None of anything else."""
    if isinstance(value, Mapping):
        return {str(key): entry for key, entry in value.items()}
    if hasattr(type(value), "_glance"):
        return _rows(value)
    return value._asdict() if hasattr(value, "_asdict") else None


def _items(items: Collection[Any]) -> str:
    """Of a list, tuple or set: its items where they are few and short, else how many of which."""
    texts = [_said(item) for item in items]
    if len(items) <= FEW and sum(map(len, texts)) <= WIDTH // 2:
        comma = "," if len(items) == 1 else ""
        joined = ", ".join(texts)
        return f"({joined}{comma})" if isinstance(items, tuple) else f"[{joined}]"
    return f"{len(items)}: {_counts(texts)}"


def _counts(texts: Iterable[str]) -> str:
    """How often each word occurs, the most frequent first."""
    counts = Counter(texts).most_common()
    words = [f"{count} {text}" for text, count in counts[:COUNTED]]
    others = sum(count for _, count in counts[COUNTED:])
    return ", ".join([*words, *([f"{others} others"] if others else [])])


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _array(value: Any) -> str:
    """An array: its numbers where they are few, else type, shape and range."""
    form = f"{value.dtype} {tuple(value.shape)}" if value.shape else f"{value.dtype} ()"
    if is_traced(value) or not value.size:
        return form
    try:
        numbers = np.asarray(value)
    except Exception:  # on devices of other machines, given away, or keys
        return form
    if numbers.dtype.kind in "OUT" and numbers.shape:
        return f"{tuple(value.shape)}: {_counts(map(str, numbers.ravel().tolist()))}"
    if numbers.size <= FEW:
        return _few(numbers.tolist())
    if numbers.dtype.kind == "b":
        return f"{form}, {int(numbers.sum())} true"
    if numbers.size > MANY or numbers.dtype.kind not in "iuf":
        return form
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return f"{form}, none finite"
    missing = numbers.size - finite.size
    return f"{form}, {_span(finite)}" + (f", {missing} not finite" if missing else "")


def _span(numbers: np.ndarray) -> str:
    """From the smallest to the largest."""
    low, high = numbers.min(), numbers.max()
    return f"all {_number(low)}" if low == high else f"{_number(low)} to {_number(high)}"


def _few(numbers: Any) -> str:
    """Numbers in nested lists."""
    if isinstance(numbers, list):
        return f"[{', '.join(map(_few, numbers))}]"
    return _number(numbers) if isinstance(numbers, float) else str(numbers)


def _number(value: Any) -> str:
    """With the digits that tell energies apart; three where it is very small or large."""
    plain = value == 0 or SMALL <= abs(value) < LARGE
    return f"{value:.8g}" if plain else f"{value:.3g}"
