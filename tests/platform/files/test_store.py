"""The store of files: what is kept is on the disk, and gone when nobody keeps it again."""

import hashlib
import os
from pathlib import Path

import pytest

from counterfoil.core.problems import Refused
from counterfoil.platform.files.store import FileStore


def test_a_kept_content_and_its_place_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    store = FileStore(tmp_path / "files")
    sha256, size = store.keep([b"coun", b"terfoil"])
    assert (sha256, size) == (hashlib.sha256(b"counterfoil").hexdigest(), 11)
    assert store.read(sha256) == b"counterfoil"
    assert synced[1:] == [sha256[:2], "files"]


def test_a_content_that_is_kept_again_is_not_removed(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    sha256, _ = store.keep([b"x"])
    kept_at = store.path_of(sha256).stat().st_mtime
    assert not store.remove(sha256, before=kept_at)
    assert store.place(sha256).is_file()
    assert store.remove(sha256, before=kept_at + 1)
    with pytest.raises(Refused) as refused:
        store.read(sha256)
    assert (refused.value.problems[0].code, refused.value.status) == ("no_content", 404)
