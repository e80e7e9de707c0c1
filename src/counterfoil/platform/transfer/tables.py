"""Table files as rows: CSV in whatever encoding and with whatever delimiter, and XLSX.

A file is read once from the beginning to the end, and never whole into memory.
"""

import codecs
import csv
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

from counterfoil.core.problems import Problem, Refused

DELIMITERS = (",", ";", "\t", "|")
FORMATS = (".csv", ".txt", ".tsv", ".xlsx")
LARGEST_UNPACKED = 4 << 30
MOST_PACKED = 200
"""How many times larger an XLSX file may become when it is unpacked."""
MOST_BESIDE_SHEETS = 128 << 20
"""Bytes of what an XLSX file holds beside its sheets, unpacked: that is read into memory."""
MOST_COLUMNS = 1_000
LONGEST_CELL = 32 << 20
"""Characters of a cell of a CSV file; an export writes texts of a million, and any document."""

csv.field_size_limit(LONGEST_CELL)

Progress = Callable[[int, int], None]
"""Called with how much of the file was read, and its size."""

FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How a text begins that a spreadsheet takes for a formula, apostrophes before it included.

An export into CSV puts one more apostrophe before such a text, and an import takes it away.
"""

_BROKEN = (
    *(BadZipFile, zlib.error, EOFError),
    *(KeyError, IndexError, ValueError, TypeError, AttributeError, SyntaxError),
)
"""What openpyxl and the libraries below it raise on files that are broken or made with malice."""

_PART = 1 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line in the file and its cells, or what makes it none."""

    line: int
    cells: Sequence[object]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """An open table file: the names in its header, and its rows, to be read once."""

    columns: tuple[str, ...]
    rows: Iterator[Row]


@contextmanager
def open_table(
    path: Path, name: str = "", progress: Progress | None = None, *, delimiter: str = ""
) -> Iterator[Table]:
    """The table in a file; refuses what cannot be read. ``name`` is told in problems.

    The kind of a file follows from its beginning and, for text, does not matter.
    """
    told = name or path.name
    try:
        with path.open("rb") as file:
            start = file.read(4)
            whole = path.stat().st_size
        if start[:4] == b"PK\x03\x04":
            with _open_workbook(path, told, progress) as (columns, rows):
                yield Table(columns, rows)
            return
        encoding = detect_encoding(path, told)
        with path.open("r", encoding=encoding, newline="") as text:
            yield _text_table(text, told, delimiter, _reporting(text, whole, progress))
    except OSError as fault:
        message = f"cannot be read: {fault.strerror or fault}"
        raise Refused(Problem("unreadable_file", message, file=told), status=404) from fault


def detect_encoding(path: Path, name: str) -> str:
    """UTF-8 or UTF-16 where the file is that to its end, otherwise that of Western Windows."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        start = file.read(_PART)
        for mark, encoding in _MARKS:
            if start.startswith(mark):
                return encoding
        part, line = start, 1
        is_utf8 = True
        while part:
            if b"\0" in part:
                message = "holds bytes that no text has; is it a CSV or XLSX file?"
                raise Refused(Problem("not_a_table", message, file=name, line=line))
            try:
                decoder.decode(part)
            except UnicodeDecodeError:
                is_utf8 = False
            line += part.count(b"\n")
            part = file.read(_PART)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        is_utf8 = False
    return "utf-8" if is_utf8 else "cp1252"


def detect_delimiter(header: str) -> str:
    """The one of the usual delimiters that stands most often in the header, outside of quotes."""
    bare = "".join(part for place, part in enumerate(header.split('"')) if place % 2 == 0)
    return max(DELIMITERS, key=bare.count)


def _reporting(text: IO[str], whole: int, progress: Progress | None) -> Callable[[], None]:
    def report() -> None:
        if progress is not None:
            progress(min(text.buffer.tell(), whole), whole)  # type: ignore[attr-defined]

    return report


def _text_table(text: IO[str], name: str, delimiter: str, report: Callable[[], None]) -> Table:
    try:
        header = text.readline(_PART)
        text.seek(0)
        reader = csv.reader(text, delimiter=delimiter or detect_delimiter(header), strict=True)
        columns = _checked_columns(next(reader, []), name)
    except (csv.Error, UnicodeDecodeError) as fault:
        raise _malformed(name, 1, fault) from fault
    return Table(columns, _text_rows(reader, len(columns), name, report))


def _text_rows(reader: Any, count: int, name: str, report: Callable[[], None]) -> Iterator[Row]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except (csv.Error, UnicodeDecodeError) as fault:
            raise _malformed(name, line, fault) from fault
        if cells is None:
            report()
            return
        if line % 1000 == 0:
            report()
        if len(cells) == count:
            yield Row(line, [_unquoted(cell) for cell in cells])
        elif any(cell.strip() for cell in cells):
            yield Row(line, (), f"has {len(cells)} cells instead of {count}")


def _unquoted(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _malformed(name: str, line: int, fault: Exception) -> Refused:
    message = f"is no proper CSV from here on: {fault}"
    return Refused(Problem("malformed_file", message, file=name, line=line))


def _checked_columns(cells: Sequence[object], name: str) -> tuple[str, ...]:
    columns = [str(cell).strip() if cell is not None else "" for cell in cells]
    while columns and not columns[-1]:
        columns.pop()
    problems = []
    if not columns:
        problems.append(Problem("missing_header", "the first line has no names", file=name, line=1))
    if len(columns) > MOST_COLUMNS:
        message = f"has {len(columns)} columns; at most {MOST_COLUMNS} are read"
        problems.append(Problem("too_many_columns", message, file=name, line=1))
    for column in dict.fromkeys(columns):
        if column and columns.count(column) > 1:
            message = f"the header names {column!r} twice"
            problems.append(Problem("double_column", message, column, file=name, line=1))
    if problems:
        raise Refused(problems)
    return tuple(columns)


@contextmanager
def _open_workbook(
    path: Path, name: str, progress: Progress | None
) -> Iterator[tuple[tuple[str, ...], Iterator[Row]]]:
    """The first sheet of a workbook; formulas stand for the values they had when it was saved."""
    import openpyxl  # noqa: PLC0415 - only for who reads a workbook

    _refuse_bomb(path, name)
    # From the open file: a name without .xlsx would be refused.
    with path.open("rb") as file:
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        except _BROKEN as fault:
            message = f"is no XLSX file that can be read: {fault}"
            raise Refused(Problem("malformed_file", message, file=name)) from fault
        try:
            if not book.worksheets:
                raise Refused(Problem("missing_header", "has no sheet", file=name))
            sheet = book.worksheets[0]
            lines = _sheet_lines(sheet, name)
            columns = _checked_columns(next(lines, ()), name)
            rows = _sheet_rows(lines, len(columns))
            yield columns, _told_rows(rows, progress, sheet.max_row, path.stat().st_size)
        finally:
            book.close()


def _sheet_lines(sheet: Any, name: str) -> Iterator[tuple[Any, ...]]:
    try:
        yield from sheet.iter_rows(values_only=True)
    except _BROKEN as fault:
        message = f"its sheet cannot be read: {fault}"
        raise Refused(Problem("malformed_file", message, file=name)) from fault


def _told_rows(
    rows: Iterator[Row], progress: Progress | None, last: int | None, whole: int
) -> Iterator[Row]:
    """The rows of a sheet; how much of the file they are follows from how many there are."""
    for row in rows:
        if progress is not None and last and row.line % 1000 == 0:
            progress(whole * min(row.line, last) // last, whole)
        yield row
    if progress is not None:
        progress(whole, whole)


def _sheet_rows(lines: Iterator[tuple[Any, ...]], count: int) -> Iterator[Row]:
    for line, cells in enumerate(lines, start=2):
        beyond = [cell for cell in cells[count:] if cell is not None]
        filled = (*cells[:count], *(None for _ in range(count - len(cells))))
        if beyond:
            yield Row(line, (), f"has values beyond its {count} columns")
        elif any(cell is not None for cell in filled):
            yield Row(line, filled)


def _refuse_bomb(path: Path, name: str) -> None:
    try:
        with zipfile.ZipFile(path) as packed:
            parts = packed.infolist()
    except BadZipFile as fault:
        message = f"is no XLSX file that can be read: {fault}"
        raise Refused(Problem("malformed_file", message, file=name)) from fault
    unpacked = sum(part.file_size for part in parts)
    beside = sum(one.file_size for one in parts if not one.filename.startswith("xl/worksheets/"))
    largest = min(LARGEST_UNPACKED, MOST_PACKED * path.stat().st_size + (1 << 20))
    if unpacked > largest or beside > MOST_BESIDE_SHEETS:
        message = f"would become {unpacked:,} bytes when unpacked; save it as CSV"
        raise Refused(Problem("file_too_large", message, file=name), status=413)
