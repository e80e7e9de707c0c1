"""Between ASGI and the values of ``exchange``: reading a request, sending an answer."""

import hashlib
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Send

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.exchange import MEGABYTE, Answer, Call
from counterfoil.platform.access.callers import NOBODY

SECURITY_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def response_of(answer: Answer) -> Response:
    """The answer as Starlette sends it, with the security headers."""
    headers = {**SECURITY_HEADERS, **answer.headers}
    if answer.status not in {204, 304}:
        headers["content-type"] = answer.media_type
    if answer.file is not None:
        removal = None if answer.kept else BackgroundTask(remove_upload, answer.file)
        return FileResponse(answer.file, answer.status, headers, background=removal)
    return Response(answer.body, answer.status, headers)


async def send_answer(answer: Answer, send: Send) -> None:
    """Send an answer where there is no request object at hand."""
    response = response_of(answer)
    await send(
        {"type": "http.response.start", "status": answer.status, "headers": response.raw_headers}
    )
    await send({"type": "http.response.body", "body": answer.body})


async def read_call(
    request: Request, limit: int, admit: Callable[[bytes], Awaitable[int]] | None = None
) -> Call:
    """The request with its whole body; refuses (413) more than ``limit`` bytes.

    ``admit`` is asked before that, with the beginning of the body: how many bytes may come then.
    """
    if admit is None:
        refuse_announced_size(request, limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit and admit is not None:
            limit, admit = await admit(bytes(body[:limit])), None
            refuse_announced_size(request, limit)
        if len(body) > limit:
            raise too_large(limit)
    whole = bytes(body)
    return call_of(request, whole, hashlib.sha256(whole).hexdigest(), None)


async def read_upload(request: Request, folder: Path, largest: int | None = None) -> Call:
    """The request with its body written to a file in a new folder in ``folder``.

    Refuses (413) more than ``largest`` bytes. Whoever asked removes it (:func:`remove_upload`).
    """
    if largest is not None:
        refuse_announced_size(request, largest)
    digest = hashlib.sha256()
    path = Path(tempfile.mkdtemp(prefix="upload-", dir=folder)) / upload_name(request)
    try:
        with path.open("wb") as file:
            async for part in buffered(bounded(request.stream(), largest), 4 * MEGABYTE):
                await run_in_threadpool(file.write, part)
                await run_in_threadpool(digest.update, part)
    except BaseException:
        remove_upload(path)
        raise
    return call_of(request, b"", digest.hexdigest(), path)


def upload_name(request: Request) -> str:
    """The name the file was given (``?name=``), without a folder and safe as a file's name."""
    name = request.query_params.get("name", "").replace("\\", "/").rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).lstrip(".")[:80] or "upload"


def remove_upload(path: Path) -> None:
    """Remove an upload, or a file that was sent, and the folder made for it."""
    path.unlink(missing_ok=True)
    path.parent.rmdir()


async def bounded(chunks: AsyncIterator[bytes], largest: int | None) -> AsyncIterator[bytes]:
    """The same bytes, refused (413) as soon as there are more than ``largest``."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if largest is not None and size > largest:
            raise too_large(largest)
        yield chunk


async def buffered(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in fewer pieces, each of at least ``size`` bytes but the last."""
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        if len(pending) >= size:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)


def call_of(request: Request, body: bytes, digest: str, upload: Path | None) -> Call:
    """The values of a request around its body."""
    return Call(
        method=request.method,
        path=request.url.path,
        variables=dict(request.path_params),
        query=tuple(request.query_params.multi_items()),
        headers=dict(request.headers),
        body=body,
        body_digest=digest,
        upload=upload,
        caller=request.scope.get("caller", NOBODY),
        request_id=request.scope.get("request_id", ""),
        client=request.client.host if request.client else "",
    )


def refuse_announced_size(request: Request, limit: int) -> None:
    """Refuse a body by its announced length, before any of it is read."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise too_large(limit)


def too_large(limit: int) -> Refused:
    """The refusal of a body beyond ``limit`` bytes."""
    message = f"the body is larger than {limit:,} bytes; send it in parts"
    return Refused(Problem("body_too_large", message), status=413)
