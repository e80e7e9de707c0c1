"""Printing many invoices into a folder."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

from counterfoil.business.documents.pdf import render_pdf
from counterfoil.business.documents.queries import Document, document_name, read_documents
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

READ_AT_ONCE = 200
"""Invoices held in memory at a time."""

RENDERED_AT_ONCE = 10
"""Invoices a worker is given at a time."""

Completion = Callable[[UnitOfWork, list[Document]], list[Document]]
"""Puts something beside documents before they are printed."""


def render_invoices(
    database: Database,
    invoice_ids: Sequence[int],
    folder: Path,
    *,
    now: datetime,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
    complete: Completion | None = None,
) -> list[Path]:
    """Print these invoices to ``folder`` as ``<number>.pdf``; the paths, in order of the ids.

    With ``workers`` above 1 that many processes share the work. A file is there whole or not at
    all; an existing one is replaced by the same bytes. ``progress(done, all)`` is called after
    every few invoices. ``complete`` may put beside the documents what is not in their snapshot.
    Refused 404 for an unknown id.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for rendered in _rendered(_batches(database, invoice_ids, now, complete), folder, workers):
        paths.extend(rendered)
        if progress is not None:
            progress(len(paths), len(invoice_ids))
    return paths


def write_documents(documents: Sequence[Document], folder: Path) -> list[Path]:
    """Print these documents to ``folder``; runs in a worker process."""
    return [
        write_whole(folder / f"{_file_name(invoice)}.pdf", render_pdf(invoice, lines))
        for invoice, lines in documents
    ]


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file so that readers see the old one or the whole new one, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _batches(
    database: Database,
    invoice_ids: Sequence[int],
    now: datetime,
    complete: Completion | None,
) -> Iterator[list[list[Document]]]:
    """The documents in portions to be rendered, one list of portions per read."""
    for start in range(0, len(invoice_ids), READ_AT_ONCE):
        with database.transaction(now=now) as uow:
            documents = read_documents(uow, invoice_ids[start : start + READ_AT_ONCE])
            if complete is not None:
                documents = complete(uow, documents)
        yield [
            documents[at : at + RENDERED_AT_ONCE]
            for at in range(0, len(documents), RENDERED_AT_ONCE)
        ]


def _rendered(
    reads: Iterator[list[list[Document]]], folder: Path, workers: int
) -> Iterator[list[Path]]:
    if workers <= 1:
        for portions in reads:
            for portion in portions:
                yield write_documents(portion, folder)
        return
    # Fresh processes: a forked one would share the database's connections and Typst's threads.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for portions in reads:
            yield from pool.map(write_documents, portions, [folder] * len(portions))


def _file_name(invoice: dict[str, object]) -> str:
    return re.sub(r"[^\w.-]+", "_", document_name(invoice)).lstrip(".") or "invoice"
