"""The store of files: each content once, at a place that follows from it."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata.customer import STORED_FILE
from counterfoil.platform.records.unit_of_work import UnitOfWork

_PART = 1 << 20


class FileStore:
    """Contents below one folder, which is made when the first is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, parts: Iterable[bytes]) -> tuple[str, int]:
        """Keep a content; its SHA-256 and its size. Keeping it again changes nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
            try:
                for part in parts:
                    digest.update(part)
                    size += file.write(part)
                file.flush()
                os.fsync(file.fileno())
                place = self.path_of(digest.hexdigest())
                place.parent.mkdir(exist_ok=True)
                Path(file.name).replace(place)
                # Also that it is there has to be on the disk before a record points to it.
                sync(place.parent)
                sync(self.folder)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        return digest.hexdigest(), size

    def keep_file(self, path: Path) -> tuple[str, int]:
        """Keep the content of a file."""
        with path.open("rb") as file:
            return self.keep(iter(lambda: file.read(_PART), b""))

    def path_of(self, sha256: str) -> Path:
        """Where a content lies, or would lie."""
        return self.folder / sha256[:2] / sha256

    def read(self, sha256: str) -> bytes:
        """A whole content; refuses (404) one that is not here."""
        return self.place(sha256).read_bytes()

    def place(self, sha256: str) -> Path:
        """Where a content lies; refuses (404) one that is not here."""
        path = self.path_of(sha256)
        if not path.is_file():
            message = "the content of the file is not in the data folder"
            raise Refused(Problem("no_content", message, "sha256"), status=404)
        return path

    def remove(self, sha256: str, before: float) -> bool:
        """Remove a content, unless it was kept (again) at ``before`` (seconds) or later."""
        path = self.path_of(sha256)
        aside = path.with_suffix(".going")
        try:
            # Who keeps the same content meanwhile puts a new file at the place.
            path.rename(aside)
            if aside.stat().st_mtime >= before:
                aside.rename(path)
                return False
            aside.unlink()
        except FileNotFoundError:
            return False
        return True


def sync(path: Path) -> None:
    """Return when what the file holds, or which files the folder holds, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def record_file(uow: UnitOfWork, name: str, media_type: str, kept: tuple[str, int]) -> int:
    """The id of the record of a kept file."""
    sha256, size = kept
    row = {"name": name, "media_type": media_type, "size": size, "sha256": sha256}
    return uow.unrestricted().create_many(STORED_FILE, [row], by_command=True)[0]
