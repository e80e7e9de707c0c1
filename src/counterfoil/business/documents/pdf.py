"""Invoices as PDF, through Typst: one compiler per thread, no network, no system fonts.

The bytes are a function of the invoice alone: fonts come from a wheel, the time stamp is the
invoice date, and nothing else of the machine enters.
"""

import json
import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, cast

import ttf_opensans
import typst

from counterfoil.business.documents.export import invoice_json
from counterfoil.business.documents.presentment import Presentment, presentment
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record

_FOLDER = Path(__file__).parent / "templates"
TEMPLATES = {"standard": _FOLDER / "standard.typ"}
"""Template name to its Typst source. Customers' own templates will join this lookup."""

_FONTS = Path(ttf_opensans.__file__).parent / "ttf"
_NO_PACKAGES = _FOLDER / "no-packages"  # does not exist: imports of packages fail at once
_ARCHIVABLE: list[Literal["a-3b"]] = ["a-3b"]


class _Compilers(threading.local):
    """The compilers of one thread, by template: fonts and template are read once."""

    def __init__(self) -> None:
        self.by_template: dict[str, typst.Compiler] = {}


_COMPILERS = _Compilers()


def render_pdf(invoice: Record, lines: Sequence[Record]) -> bytes:
    """The invoice as a tagged PDF/A-3b with its own JSON attached.

    ``lines`` are its invoice lines by position. Where a text needs a script the fonts do not
    have, the archival standard cannot be met and the document is a plain PDF. Raises ``Refused``
    for a template that does not exist.
    """
    content = presentment(invoice, lines)
    record = invoice_json(invoice, lines)
    compiler = _compiler(_template_of(invoice))
    stamp = datetime.combine(cast("date", invoice["invoice_date"]), datetime.min.time(), tzinfo=UTC)
    try:
        return _compile(compiler, content, record, stamp, _ARCHIVABLE)
    except typst.TypstError:
        try:
            return _compile(compiler, content, record, stamp, [])
        except typst.TypstError:
            # A logo that is no drawable SVG must not keep a final invoice from being printed.
            content["seller"]["logo"] = ""
            return _compile(compiler, content, record, stamp, [])


def render_png(invoice: Record, lines: Sequence[Record], *, pixels_per_inch: float) -> list[bytes]:
    """The invoice's pages as PNG pictures."""
    content = presentment(invoice, lines)
    compiler = _compiler(_template_of(invoice))
    pages = compiler.compile(
        format="png",
        ppi=pixels_per_inch,
        sys_inputs={"presentment": json.dumps(content, ensure_ascii=False)},
    )
    return cast("list[bytes]", pages if isinstance(pages, list) else [pages])


def _compile(
    compiler: typst.Compiler,
    content: Presentment,
    record: str,
    stamp: datetime,
    standards: list[Literal["a-3b"]],
) -> bytes:
    return cast(
        "bytes",
        compiler.compile(
            format="pdf",
            sys_inputs={
                "presentment": json.dumps(content, ensure_ascii=False),
                "record": record,
            },
            pdf_standards=standards,
            timestamp=stamp,
        ),
    )


def _template_of(invoice: Record) -> str:
    name = str(cast("dict[str, object]", invoice["snapshot"]).get("template") or "standard")
    if name not in TEMPLATES:
        raise Refused(
            Problem(
                "unknown_template",
                f"there is no invoice template {name!r}",
                "snapshot.template",
                tuple(TEMPLATES),
            )
        )
    return name


def _compiler(template: str) -> typst.Compiler:
    compiler = _COMPILERS.by_template.get(template)
    if compiler is None:
        source = TEMPLATES[template]
        compiler = typst.Compiler(
            source,
            root=source.parent,
            font_paths=[_FONTS],
            ignore_system_fonts=True,
            package_path=_NO_PACKAGES,
            package_cache_path=_NO_PACKAGES,
        )
        _COMPILERS.by_template[template] = compiler
    return compiler
