"""Where a scenario's price books stand: written in place, or in a file beside the scenario."""

from pathlib import Path

import yaml

from counterfoil.core.notation.located import Entry, Kind, Reader, Rule, Rules, excerpt
from counterfoil.core.problems import Problem
from counterfoil.interfaces.scenarios.scenario import PriceBookText

PRICE_BOOK: Rules = {"price_book": Rule(kind=Kind.NODE), "price_book_file": Rule()}
"""The fields by which an entry names a price book."""


def read_text(path: Path) -> tuple[str, Problem | None]:
    """The UTF-8 text of a file, or the problem that prevents it."""
    try:
        return path.read_text(encoding="utf-8-sig"), None
    except UnicodeDecodeError as error:
        return "", Problem("bad_encoding", f"is not UTF-8 text: {error.reason}", file=str(path))
    except OSError as error:
        said = error.strerror or str(error)
        return "", Problem("unreadable_file", f"cannot be read: {said}", file=str(path))


def read_price_book(
    reader: Reader, entry: Entry, text: str, folder: Path | None
) -> PriceBookText | None:
    """The price book of an entry of the YAML ``text``; None when it has none."""
    node: yaml.Node | None = entry["price_book"]
    name: str | None = entry["price_book_file"]
    if name is None:
        return None if node is None else PriceBookText(excerpt(text, node), reader.file)
    line, field = entry.line_of("price_book_file"), "price_book_file"
    if node is not None:
        reader.refuse("two_price_books", "excludes price_book: give one of them", line, field)
        return None
    if folder is None:
        reader.refuse("no_folder", "needs a scenario file on disk", line, field)
        return None
    path = folder / name
    content, problem = read_text(path)
    if problem is not None:
        reader.refuse(problem.code, f"{name!r} {problem.message}", line, field)
        return None
    return PriceBookText(content, str(path))
