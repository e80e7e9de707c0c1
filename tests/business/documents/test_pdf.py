"""The printed invoice: its text, pages, paper, bytes and what hostile texts cannot do."""

import io
import json
from decimal import Decimal

import pytest
from pypdf import PdfReader

from counterfoil.business.documents.export import invoice_json
from counterfoil.business.documents.pdf import render_pdf, render_png
from counterfoil.core.problems import Refused

LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 10">'
    '<rect width="40" height="10" fill="#0b5d5e"/></svg>'
)


def read(content: bytes) -> PdfReader:
    return PdfReader(io.BytesIO(content))


def text_of(content: bytes) -> str:
    return "\n".join(page.extract_text() for page in read(content).pages)


def test_the_page_says_what_is_due_by_whom_and_when(make_invoice):
    text = text_of(render_pdf(*make_invoice()))
    for part in (
        "Invoice", "INV-000482", "Meridian Conferencing Inc.", "Halvorsen ASA", "Åse Sørensen",
        "Dec 1, 2026", "USD 406.12", "Premier dial-out", "1,846", "minute", "0.22",
        "SWIFT FHBKUS33", "Page 1 of 1",
    ):  # fmt: skip
        assert part in text


def test_four_hundred_lines_have_numbered_pages_each_with_its_headings(make_invoice, make_line):
    lines = [make_line(site_name=f"Site {number // 20:02}") for number in range(400)]
    pages = [page.extract_text() for page in read(render_pdf(*make_invoice(lines))).pages]
    assert 10 <= len(pages) <= 16
    for number, page in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in page
    for page in pages[:-1]:
        assert "Service period" in page and "Amount (USD)" in page
    for page in pages[1:]:
        assert "Invoice INV-000482" in page.splitlines()[0]
    assert "USD 162,448.00" in pages[0] and "USD 162,448.00" in pages[-1]


def test_no_site_heading_stands_alone_at_the_foot_of_a_page(make_invoice, make_line):
    lines = [make_line(site_name=f"Site {number // 3:03}") for number in range(300)]
    for page in read(render_pdf(*make_invoice(lines))).pages:
        rows = [row for row in page.extract_text().splitlines() if "Page " not in row]
        assert not rows[-2].startswith("Site ")


@pytest.mark.parametrize(
    ("paper", "size"), [("a4", (595, 842)), ("us-letter", (612, 792)), ("a0", (595, 842))]
)
def test_paper(make_invoice, paper, size):
    box = read(render_pdf(*make_invoice(snapshot={"paper": paper}))).pages[0].mediabox
    assert (round(box.width), round(box.height)) == size


def test_the_same_invoice_gives_the_same_bytes(make_invoice):
    first, second = render_pdf(*make_invoice()), render_pdf(*make_invoice())
    assert first == second


def test_it_is_archivable_and_carries_its_own_json(make_invoice):
    invoice, lines = make_invoice(seller={"logo_svg": LOGO})
    content = render_pdf(invoice, lines)
    assert b"<pdfaid:part>3</pdfaid:part>" in content
    reader = read(content)
    assert reader.metadata is not None and reader.metadata.title == "Invoice INV-000482"
    attached = reader.attachments["invoice.json"][0]
    assert json.loads(attached) == json.loads(invoice_json(invoice, lines))


def test_the_logo_replaces_the_mark(make_invoice):
    assert "MC" in text_of(render_pdf(*make_invoice()))
    assert "MC" not in text_of(render_pdf(*make_invoice(seller={"logo_svg": LOGO})))


def test_a_broken_logo_does_not_keep_an_invoice_from_being_printed(make_invoice):
    assert "INV-000482" in text_of(render_pdf(*make_invoice(seller={"logo_svg": "<svg"})))


def test_texts_are_printed_as_they_are_and_never_run(make_invoice, make_line):
    name = '#panic("x") $x^2$ *b* _e_ \\n "q" `r` <l> @ref // c'
    invoice, lines = make_invoice(
        [make_line(description=name)], snapshot={"purchase_order": "#pagebreak()"}
    )
    text = text_of(render_pdf(invoice, lines))
    assert "#pagebreak()" in text
    assert name in " ".join(text.split())


def test_greek_cyrillic_and_accented_names_are_archivable(make_invoice, make_line):
    name = "Ελλάδα Владивосток Łódź İstanbul Ñandú"
    content = render_pdf(*make_invoice([make_line(description=name)]))
    assert name in text_of(content)
    assert b"<pdfaid:part>3</pdfaid:part>" in content


def test_a_script_without_font_is_still_printed(make_invoice, make_line):
    assert "406.12" in text_of(render_pdf(*make_invoice([make_line(description="東京 dial-out")])))


def test_a_draft_is_marked(make_invoice):
    assert "DRAFT" in text_of(render_pdf(*make_invoice(state="draft", number=None)))


def test_a_credit_note_is_titled_and_negative(make_invoice, make_line):
    line = make_line(amount=Decimal("-406.12"))
    text = text_of(render_pdf(*make_invoice([line], kind="credit_note", number="CN-000001")))
    assert "Credit note" in text and "USD −406.12" in text and "HOW TO PAY" not in text.upper()


def test_an_invoice_without_lines_is_printed(make_invoice):
    assert "Nothing to pay" in text_of(render_pdf(*make_invoice([])))


def test_an_unknown_template_is_refused_with_the_known_ones(make_invoice):
    with pytest.raises(Refused) as refused:
        render_pdf(*make_invoice(snapshot={"template": "../secret"}))
    assert refused.value.problems[0].allowed == ("standard",)


def test_pages_as_pictures(make_invoice):
    pages = render_png(*make_invoice(), pixels_per_inch=40)
    assert [page[:8] for page in pages] == [b"\x89PNG\r\n\x1a\n"]
