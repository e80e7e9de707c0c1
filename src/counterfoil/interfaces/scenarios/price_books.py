"""Where a scenario's price books and incentives stand: in place, or in a file beside it."""

from pathlib import Path

import yaml

from counterfoil.core.notation.located import Entry, Kind, Reader, Rule, Rules, excerpt
from counterfoil.core.problems import Problem
from counterfoil.interfaces.scenarios.scenario import LocatedText

PRICE_BOOK: Rules = {"price_book": Rule(kind=Kind.NODE), "price_book_file": Rule()}
"""The fields by which an entry names a price book."""
INCENTIVES: Rules = {"incentives": Rule(kind=Kind.NODE), "incentives_file": Rule()}
"""The fields by which an entry names incentives."""


def read_text(path: Path) -> tuple[str, Problem | None]:
    """The UTF-8 text of a file, or the problem that prevents it."""
    try:
        return path.read_text(encoding="utf-8-sig"), None
    except UnicodeDecodeError as error:
        return "", Problem("bad_encoding", f"is not UTF-8 text: {error.reason}", file=str(path))
    except OSError as error:
        said = error.strerror or str(error)
        return "", Problem("unreadable_file", f"cannot be read: {said}", file=str(path))


def read_part(
    reader: Reader, entry: Entry, text: str, folder: Path | None, name: str
) -> LocatedText | None:
    """The price book or incentives of an entry of the YAML ``text``; None when it has none.

    ``name`` is the field they stand in; ``<name>_file`` names a file in place of it.
    """
    field = f"{name}_file"
    node: yaml.Node | None = entry[name]
    file: str | None = entry[field]
    if file is None:
        return None if node is None else LocatedText(excerpt(text, node), reader.file)
    line = entry.line_of(field)
    if node is not None:
        reader.refuse(f"two_{name}s", f"excludes {name}: give one of them", line, field)
        return None
    if folder is None:
        reader.refuse("no_folder", "needs a scenario file on disk", line, field)
        return None
    path = folder / file
    content, problem = read_text(path)
    if problem is not None:
        reader.refuse(problem.code, f"{file!r} {problem.message}", line, field)
        return None
    return LocatedText(content, str(path))
