"""Colours, marks and tables: plain text where nobody looks."""

import io
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

_GAP = "   "
_COLUMN_WIDTH_MIN = 10
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


NOBODY_READS = 141
"""The exit code of a program that wrote into a closed pipe: 128 and SIGPIPE, as shells say it."""


class _Output(io.FileIO):
    """Ends the program when nobody reads any more. No handler of OSError takes that for a failure of the command."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            silence()
            raise SystemExit(NOBODY_READS) from None


def end_when_nobody_reads() -> None:
    """From now on the program ends quietly when its standard output is a pipe that is closed, as by `head -1`."""
    before = sys.stdout
    if not isinstance(before, io.TextIOWrapper):
        return  # there is none, or it is nobody's pipe
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(before.fileno(), "wb", closefd=False)),
        encoding=before.encoding,
        errors=before.errors,
        line_buffering=before.line_buffering or before.write_through,
    )


def silence() -> None:
    """What is still printed goes nowhere."""
    nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nothing, 1)
    os.close(nothing)


def colourful(stream: TextIO) -> bool:
    """Whether colours help here: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(text: str, *styles: str, stream: TextIO = sys.stdout) -> str:
    """The text in colour where that helps."""
    if not styles or not colourful(stream):
        return text
    return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def width(text: str) -> int:
    """Columns that a text takes: Chinese characters take two, colours none."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in _STYLE.sub("", text))


def table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], shorten: Sequence[str] = (), spare: Sequence[str] = ()
) -> str:
    """Columns as kubectl prints them: padded with three blanks, no lines.

    On a terminal that is too narrow the columns named in `shorten` give way, the widest first; where that is not
    enough, those named in `spare` are left out, one after the other.
    """
    lines = [list(headers), *(list(row) for row in rows)]
    widths = [max(width(line[column]) for line in lines) for column in range(len(headers))]
    columns = list(range(len(headers)))
    if sys.stdout.isatty():
        available = shutil.get_terminal_size().columns
        for left_out in range(len(spare) + 1):
            columns = [column for column, name in enumerate(headers) if name not in spare[:left_out]]
            if _squeeze(fitting := list(widths), columns, [headers.index(name) for name in shorten], available):
                break
        widths = fitting
    return "\n".join(
        _line([line[column] for column in columns], [widths[column] for column in columns]) for line in lines
    )


def _squeeze(widths: list[int], columns: Sequence[int], shorten: Sequence[int], available: int) -> bool:
    """Take from the widest of some columns until all fit, or none has anything left to give; whether they fit."""
    while sum(widths[column] for column in columns) + len(_GAP) * (len(columns) - 1) > available:
        widest = max(
            (column for column in shorten if column in columns), key=lambda column: widths[column], default=None
        )
        if widest is None or widths[widest] <= _COLUMN_WIDTH_MIN:
            return False
        widths[widest] -= 1
    return True


def _cut(text: str, columns: int) -> str:
    """What of a text takes no more than so many columns, in its colour."""
    if width(text) <= columns:
        return text
    style, plain = _STYLE.match(text), _STYLE.sub("", text)
    while plain and width(plain) > columns - 1:
        plain = plain[:-1]
    return f"{style[0]}{plain}…\x1b[0m" if style else f"{plain}…"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    fitting = [_cut(cell, columns) for cell, columns in zip(cells, widths, strict=True)]
    padded = [cell + " " * (columns - width(cell)) for cell, columns in zip(fitting, widths, strict=True)]
    return _GAP.join(padded).rstrip()


def ok(text: str) -> None:
    """A step that is done."""
    print(f"{paint('✔', 'green')} {text}", flush=True)


def step(text: str) -> None:
    """A step that begins."""
    print(f"{paint('•', 'cyan')} {text}", flush=True)


def warn(text: str) -> None:
    """Something that a person should know."""
    print(f"{paint('!', 'yellow')} {text}", flush=True)


def fail(text: str) -> None:
    """An error, on standard error."""
    print(f"{paint('✘', 'red', stream=sys.stderr)} {text}", file=sys.stderr, flush=True)
