"""Usage files as Arrow: records of text, in chunks, with bounded memory and exact places.

A record's ``line`` is its number in the file, the header being line 1; a quoted line break
inside a CSV field does not count, so that it is the line number of ordinary files.
"""

import csv
import gzip
import hashlib
import io
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from counterfoil.business.usage.declaration import Declaration
from counterfoil.core.problems import Problem, Refused

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the size of the file."""

_BLOCK = 8 << 20
_CHUNK_RECORDS = 262_144
_CHUNK_BYTES = 64 << 20
_LONGEST_HEADER = 1 << 20
# Control characters cannot stand unescaped in JSON, so this never splits a JSON line.
_NO_DELIMITER = "\x1f"
# A decimal number in JSON with so many digits would be cut when read as a double.
_LONG_DECIMAL = r"[0-9.]{17}"
_BYTE_ORDER_MARKS = {
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that is no record."""

    line: int
    text: str
    message: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some records: ``line``, ``kept_id`` (null) and text columns ``c0`` … in order of lines."""

    records: pa.Table
    malformed: tuple[Malformed, ...]


def content_digest(path: Path) -> str:
    """SHA-256 of the file's bytes; refuses (404) a file that is not there."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as fault:
        message = f"cannot read the file: {fault.strerror}"
        raise Refused(Problem("unreadable_file", message, file=str(path)), status=404) from fault


class UsageFile:
    """One file under one declaration; ``columns`` are those of its header (none for JSON)."""

    def __init__(self, path: Path, declaration: Declaration, progress: Progress | None) -> None:
        self.path = path
        self.declaration = declaration
        self._progress = progress
        self.columns = self._read_columns()

    def chunks(self) -> Iterator[Chunk]:
        """The records, chunk by chunk; refuses (422) a file that is not text as declared."""
        quote = None if self.declaration.json else self.declaration.quote
        with _CheckedText(self.path, self.declaration.encoding, self._progress, quote) as text:
            try:
                yield from self._collect(text)
            except pa.ArrowInvalid as fault:
                if text.fault is not None:
                    raise text.fault from fault
                raise self._too_long(text.lines_read, fault) from fault

    def _collect(self, text: "_CheckedText") -> Iterator[Chunk]:
        malformed: list[Malformed] = []
        numbering = _Numbering(1 if self._has_header() else 0)
        collected: list[pa.Table] = []
        for batch in self._batches(text, malformed, numbering):
            collected.append(batch)
            records = sum(table.num_rows for table in collected)
            size = sum(table.nbytes for table in collected)
            if records >= _CHUNK_RECORDS or size >= _CHUNK_BYTES:
                yield Chunk(pa.concat_tables(collected), tuple(malformed))
                collected, malformed[:] = [], []
        if collected or malformed:
            empty = _no_records(self._names())
            if collected and text.quotes % 2:
                self._refuse_open_quote(collected[-1])
            yield Chunk(pa.concat_tables(collected or [empty]), tuple(malformed))

    def _refuse_open_quote(self, last: pa.Table) -> None:
        """Refuse a file of which the last record runs over line ends to the end of the file, with
        a mark too many: it has taken the records behind it for a part of itself."""
        record = last.slice(last.num_rows - 1).to_pylist()[0]
        line = record.pop("line")
        if any("\n" in (value or "") for value in record.values()):
            message = "in this record a quotation mark is opened and never closed"
            raise self._refusal("malformed_file", message, line)

    def _has_header(self) -> bool:
        return self.declaration.header and not self.declaration.json

    def _names(self) -> list[str]:
        return [f"c{index}" for index in range(max(len(self.columns), 1))]

    def _read_columns(self) -> tuple[str, ...]:
        if not self._has_header():
            return self.declaration.columns
        with _CheckedText(self.path, self.declaration.encoding, None) as text:
            line = text.first_line(_LONGEST_HEADER)
        quote = self.declaration.quote
        reader = csv.reader([line], delimiter=self.declaration.delimiter, quotechar=quote)
        named = [name.strip() for name in next(reader, [])]
        columns = tuple(name or f"column {place}" for place, name in enumerate(named, start=1))
        doubled = {name for name in columns if columns.count(name) > 1}
        if not any(named):
            raise self._refusal("missing_header", "the file has no header line", 1)
        if doubled:
            listed = ", ".join(sorted(doubled))
            raise self._refusal("double_column", f"the header names twice: {listed}", 1)
        return columns

    def _batches(
        self, text: "_CheckedText", malformed: list[Malformed], numbering: "_Numbering"
    ) -> Iterator[pa.Table]:
        def keep(row: pa_csv.InvalidRow) -> str:
            message = f"has {row.actual_columns} fields instead of {row.expected_columns}"
            if self.declaration.json:
                message = "contains a control character"
            numbering.left_out.append(row.number)
            malformed.append(Malformed(row.number, row.text, message))
            return "skip"

        names = self._names()
        reading = pa_csv.ReadOptions(
            block_size=_BLOCK,
            use_threads=False,
            column_names=names,
            skip_rows=1 if self._has_header() else 0,
        )
        try:
            reader = pa_csv.open_csv(
                pa.PythonFile(text, mode="r"),
                read_options=reading,
                parse_options=self._parsing(keep),
                convert_options=pa_csv.ConvertOptions(
                    column_types={name: pa.string() for name in names},
                    strings_can_be_null=False,
                    quoted_strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid:
            # A file with nothing behind its header.
            if text.fault is None and text.lines_read <= 1:
                return
            raise
        for batch in reader:
            table = pa.Table.from_batches([batch])
            if self.declaration.json:
                table = _with_exact_numbers(table)
            yield _with_lines(table, numbering.lines(table.num_rows))

    def _parsing(self, keep: Callable[[pa_csv.InvalidRow], str]) -> pa_csv.ParseOptions:
        if self.declaration.json:
            return pa_csv.ParseOptions(
                delimiter=_NO_DELIMITER,
                quote_char=False,
                ignore_empty_lines=False,
                invalid_row_handler=keep,
            )
        return pa_csv.ParseOptions(
            delimiter=self.declaration.delimiter,
            quote_char=self.declaration.quote or False,
            newlines_in_values=True,
            ignore_empty_lines=False,
            invalid_row_handler=keep,
        )

    def _refusal(self, code: str, message: str, line: int) -> Refused:
        return Refused(Problem(code, message, file=str(self.path), line=line))

    def _too_long(self, line: int, fault: pa.ArrowInvalid) -> Refused:
        if "straddling" not in str(fault):
            return self._refusal("malformed_file", str(fault), line)
        message = (
            f"before this line stands a record of more than {_BLOCK >> 20} MB; "
            "is a quotation mark never closed?"
        )
        return self._refusal("malformed_file", message, line)


def records_of(texts: pa.Array, lines: pa.Array) -> pa.Table:
    """JSON objects received one by one as a table of raw records."""
    table = _with_exact_numbers(pa.table({"c0": texts}))
    return _with_lines(table, lines)


class _Numbering:
    """Gives the records their numbers, leaving out those of malformed lines."""

    def __init__(self, before: int) -> None:
        self._next = before + 1
        self.left_out: list[int] = []

    def lines(self, count: int) -> pa.Array:
        out: list[int] = []
        last = self._next + count - 1
        while self.left_out and self.left_out[0] <= last:
            out.append(self.left_out.pop(0))
            last += 1
        numbers = pa.arange(self._next, last + 1)
        self._next = last + 1
        if not out:
            return numbers
        return numbers.filter(pc.invert(pc.is_in(numbers, pa.array(out, pa.int64()))))


def _with_lines(table: pa.Table, lines: pa.Array) -> pa.Table:
    table = table.append_column("line", lines)
    return table.append_column("kept_id", pa.nulls(table.num_rows, pa.string()))


def _no_records(names: list[str]) -> pa.Table:
    table = pa.table({name: pa.array([], pa.string()) for name in names})
    return _with_lines(table, pa.array([], pa.int64()))


def _with_exact_numbers(table: pa.Table) -> pa.Table:
    """Write long decimal numbers in JSON as strings, since the engine reads numbers as doubles."""
    column = table.column("c0").combine_chunks()
    long = pc.match_substring_regex(column, _LONG_DECIMAL)
    if not pc.any(long).as_py():
        return table
    texts = pc.filter(column, long).to_pylist()
    exact = pa.array([_exact_numbers(text) for text in texts], pa.string())
    return table.set_column(0, "c0", pc.replace_with_mask(column, long, exact))


def _exact_numbers(text: str) -> str:
    try:
        value = _EXACT.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
    return msgspec.json.encode(value).decode()


_EXACT = msgspec.json.Decoder(float_hook=str)


class _CheckedText(io.RawIOBase):
    """The file's bytes as UTF-8, checked against the declared encoding; counts lines and quotes."""

    def __init__(
        self, path: Path, encoding: str, progress: Progress | None, quote: str | None = None
    ) -> None:
        super().__init__()
        self._quote = (quote or "").encode()
        self.quotes = 0
        self._path = path
        self._encoding = encoding
        self._decoder = getincrementaldecoder(encoding)()
        self._progress = progress
        self._size = path.stat().st_size
        self._raw = path.open("rb")
        self._file = cast(
            "BinaryIO", gzip.GzipFile(fileobj=self._raw) if path.suffix == ".gz" else self._raw
        )
        self._first = True
        self.lines_read = 0
        self.fault: Refused | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """The next at most ``size`` bytes of the file, as UTF-8."""
        try:
            data = self._file.read(size)
        except (OSError, EOFError) as fault:
            raise self._refuse("unreadable_file", f"cannot read the file: {fault}") from fault
        if self._first:
            data = self._begin(data)
        if self._progress is not None:
            self._progress(self._raw.tell(), self._size)
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as fault:
            self.lines_read += fault.object[: fault.start].count(b"\n")
            found = fault.object[fault.start]
            message = f"byte {found:#04x} is not {self._encoding}: declare the file's encoding"
            raise self._refuse("wrong_encoding", message) from fault
        utf8 = data if self._encoding == "utf-8" and len(text) == len(data) else text.encode()
        self.lines_read += utf8.count(b"\n")
        self.quotes += utf8.count(self._quote) if self._quote else 0
        if data and not utf8:
            # Only a part of one character: an empty answer would mean the end of the file.
            return self.read(size)
        return utf8

    def first_line(self, limit: int) -> str:
        text = self.read(limit).decode()
        return text.replace("\r", "\n").partition("\n")[0]

    def close(self) -> None:
        self._file.close()
        self._raw.close()
        super().close()

    def _begin(self, data: bytes) -> bytes:
        self._first = False
        if self._encoding != "utf-8":
            return data
        mark = _BYTE_ORDER_MARKS.get(data[:2])
        if mark or b"\0" in data:
            message = f"the file is not {self._encoding} but {mark or 'utf-16 or binary'}"
            raise self._refuse("wrong_encoding", message)
        return data.removeprefix(b"\xef\xbb\xbf")

    def _refuse(self, code: str, message: str) -> Refused:
        line = self.lines_read + 1
        self.fault = Refused(Problem(code, message, file=str(self._path), line=line))
        return self.fault
