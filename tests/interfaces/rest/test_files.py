"""Files: kept by their content, under a harmless name, of bounded size."""

import hashlib
import socket
from urllib.parse import urlparse

import httpx
import pytest
from tests.interfaces.rest.conftest import TOKEN, Served

from counterfoil.platform.files.store import FileStore

LARGEST = 100 * 1024 * 1024


def test_a_file_comes_back_as_it_went(served: Served, api: httpx.Client):
    content = b"<script>alert(1)</script>" * 1000
    given = {"name": "../../etc/pass wd;rm.html"}
    made = api.post("/files", content=content, params=given, headers={"Content-Type": "text/html"})
    assert made.status_code == 201
    record = made.json()
    assert record["name"] == "pass_wd_rm.html"
    assert record["sha256"] == hashlib.sha256(content).hexdigest()
    back = api.get(f"/stored-files/{record['id']}/content")
    assert back.content == content
    assert back.headers["content-type"] == "application/octet-stream"
    assert back.headers["x-content-type-options"] == "nosniff"
    assert back.headers["content-disposition"] == 'attachment; filename="pass_wd_rm.html"'
    again = api.post("/files", content=content, params={"name": "other"}).json()
    assert again["sha256"] == record["sha256"]
    kept = [path for path in (served.organisation.home / "files").rglob("*") if path.is_file()]
    assert [path.name for path in kept] == [record["sha256"]]


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(served: Served):
    place = urlparse(served.url)
    with socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=30) as line:
        line.sendall(
            b"POST /api/v1/files?name=x HTTP/1.1\r\nHost: x\r\n"
            + f"Authorization: Bearer {TOKEN}\r\nContent-Length: {LARGEST + 1}\r\n\r\n".encode()
        )
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")
    assert served.count("stored_file") <= 2


def test_a_download_does_not_pass_through_memory(
    served: Served, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
):
    content = b"large" * 100_000
    made = api.post("/files", content=content, params={"name": "large.bin"}).json()

    def read_whole(_store: FileStore, _sha256: str) -> bytes:
        raise MemoryError

    monkeypatch.setattr(FileStore, "read", read_whole)
    for _ in range(2):
        answer = api.get(f"/stored-files/{made['id']}/content")
        assert answer.content == content
        assert answer.headers["content-type"] == "application/octet-stream"
    served.organisation.files.path_of(made["sha256"]).unlink()
    gone = api.get(f"/stored-files/{made['id']}/content")
    assert (gone.status_code, gone.json()["errors"][0]["code"]) == (404, "no_content")
