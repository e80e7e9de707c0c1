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
_Standard = Literal["a-3b"] | None
_ATTEMPTS: tuple[tuple[_Standard, bool], ...] = (("a-3b", False), ("a-3b", True), (None, True))
"""(PDF standard, use of the machine's own fonts), tried in this order. PDF/A allows no character
without a glyph, and the fonts of the wheel end with Latin, Greek, Cyrillic and Vietnamese."""


class _Compilers(threading.local):
    """The compilers of one thread by (template, system fonts): files are read once."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, bool], typst.Compiler] = {}


_COMPILERS = _Compilers()


def render_pdf(invoice: Record, lines: Sequence[Record]) -> bytes:
    """The invoice as a tagged PDF/A-3b with its own JSON attached.

    ``lines`` are its invoice lines by position. A text in a script the shipped fonts lack is set
    in a font of the machine; where it has none either, the document is a plain PDF. Raises
    ``Refused`` for a template that does not exist.
    """
    template = _template_of(invoice)
    day = cast("date", invoice["invoice_date"])
    return typeset(presentment(invoice, lines), invoice_json(invoice, lines), day, template)


def typeset(content: Presentment, record: str, day: date, template: str = "standard") -> bytes:
    """A document of presentable content as PDF, dated a day; ``record`` is attached to it unless
    it is empty. Fonts and standard as of :func:`render_pdf`."""
    stamp = datetime.combine(day, datetime.min.time(), tzinfo=UTC)
    for standard, system_fonts in _ATTEMPTS:
        compiler = _compiler(template, system_fonts=system_fonts)
        try:
            return _compile(compiler, content, record, stamp, standard)
        except typst.TypstError:
            continue
    # A logo that is no drawable SVG must not keep a final invoice from being printed.
    content["seller"]["logo"] = ""
    return _compile(_compiler(template), content, record, stamp, None)


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
    standard: _Standard,
) -> bytes:
    return cast(
        "bytes",
        compiler.compile(
            format="pdf",
            sys_inputs={
                "presentment": json.dumps(content, ensure_ascii=False),
                "record": record,
            },
            pdf_standards=standard,
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


def _compiler(template: str, *, system_fonts: bool = False) -> typst.Compiler:
    compiler = _COMPILERS.made.get((template, system_fonts))
    if compiler is None:
        source = TEMPLATES[template]
        compiler = typst.Compiler(
            source,
            root=source.parent,
            font_paths=[_FONTS],
            ignore_system_fonts=not system_fonts,
            package_path=_NO_PACKAGES,
            package_cache_path=_NO_PACKAGES,
        )
        _COMPILERS.made[template, system_fonts] = compiler
    return compiler
