"""Files that commands read and write: what cannot be read or written is refused by its name."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from counterfoil.business.documents.commands import write_whole
from counterfoil.core.problems import Problem, Refused


def read_text(path: Path) -> str:
    """The UTF-8 text of a file; refuses one that cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = Problem("bad_encoding", "is not UTF-8 text", file=str(path), line=line)
        raise Refused(problem) from None
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise Refused(Problem("unreadable_file", message, file=str(path))) from None


@contextmanager
def writing_to(path: Path | None) -> Iterator[None]:
    """Refuses a file or folder that cannot be written, and with it what was to be done."""
    try:
        yield
    except OSError as error:
        if path is None:
            raise
        message = f"cannot be written: {error.strerror or error}"
        raise Refused(Problem("unwritable_file", message, file=str(path))) from error


def write_file(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; refuses one that cannot be written."""
    with writing_to(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        write_whole(path, content)
