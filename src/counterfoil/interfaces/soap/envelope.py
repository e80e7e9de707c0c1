"""Envelopes in and out: XML read without trust, and answers and faults written.

What XML can do beyond elements and text is refused before it is parsed: no DTD, so no entities,
and no encoding in which one could hide.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.exchange import MEGABYTE, Answer
from counterfoil.interfaces.soap.names import ENVELOPE, FLAVOURS, GENERIC, INSTANCE, Flavour

XML = "text/xml; charset=utf-8"
LONGEST = 16 * MEGABYTE
MOST_TAGS = 1_000_000
DEEPEST = 16
MOST_PROBLEMS = 1000

_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""")
_EBCDIC = b"\x4c\x6f\xa7\x94"
"""How ``<?xml`` begins in an encoding that is told by no name and hides every other byte."""

_WARY: Any = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
_READABLE = frozenset({b"utf-8", b"us-ascii", b"iso-8859-1"})
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Element = etree._Element  # noqa: SLF001 - lxml has no other name for it
"""An element of a document."""

NIL = f"{{{INSTANCE}}}nil"
TYPE = f"{{{INSTANCE}}}type"


@dataclass(frozen=True, slots=True)
class Message:
    """A request: what to do, in which flavour, with what, and the session it names."""

    flavour: Flavour
    operation: str
    body: Element
    session: str


def read_message(body: bytes) -> Message:
    """The message of a request; refuses (400) what is no SOAP 1.1 message."""
    envelope = _parse(body)
    if envelope.tag != f"{{{ENVELOPE}}}Envelope":
        if etree.QName(envelope).localname == "Envelope":
            message = f"the envelope has to be of SOAP 1.1, in the namespace {ENVELOPE}"
            raise Refused(Problem("version_mismatch", message), status=400)
        raise _malformed("the document is no SOAP envelope")
    header, found = envelope.find(f"{{{ENVELOPE}}}Header"), envelope.find(f"{{{ENVELOPE}}}Body")
    if found is None or len(found) != 1:
        raise _malformed("the envelope needs one Body with one element")
    _refuse_musts(header)
    name = etree.QName(found[0])
    flavour = FLAVOURS.get(name.namespace or "")
    if flavour is None:
        raise _malformed(f"{name.namespace!r} is none of the namespaces here", tuple(FLAVOURS))
    return Message(flavour, name.localname, found[0], _session(header))


def _parse(body: bytes) -> Element:
    if len(body) > LONGEST or body.count(b"<") > MOST_TAGS:
        raise Refused(Problem("body_too_large", "the message is too large; send less at once"), 413)
    if not body.strip():
        raise _malformed("a SOAP envelope is expected, nothing was sent")
    declared = _ENCODING.match(body.removeprefix(b"\xef\xbb\xbf")[:400])
    encoding = declared[1].lower() if declared else b"utf-8"
    if encoding not in _READABLE or b"\x00" in body[:1000] or body.startswith(_EBCDIC):
        raise _malformed("the document has to be encoded as UTF-8")
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        message = "a document type declaration is not allowed in a SOAP message"
        raise Refused(Problem("forbidden_xml", message), status=400)
    try:
        root: Element = etree.fromstring(body, etree.XMLParser(**_WARY))
    except (etree.XMLSyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        message = f"malformed XML: {str(error)[:200]}"
        raise Refused(Problem("malformed_xml", message, line=line), status=400) from None
    if root.getroottree().docinfo.doctype:
        raise _malformed("a document type declaration is not allowed in a SOAP message")
    _refuse_depth(root)
    return root


def _refuse_depth(root: Element) -> None:
    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > DEEPEST:
            raise _malformed("the message is nested too deeply")


def _refuse_musts(header: Element | None) -> None:
    for block in () if header is None else header:
        is_known = etree.QName(block).localname == "SessionHeader"
        if not is_known and block.get(f"{{{ENVELOPE}}}mustUnderstand") in ("1", "true"):
            message = f"the header {etree.QName(block).localname[:60]!r} is not understood here"
            raise Refused(Problem("must_understand", message), status=400)


def _session(header: Element | None) -> str:
    for block in () if header is None else header:
        if etree.QName(block).localname == "SessionHeader":
            for child in block:
                if etree.QName(child).localname.lower() == "sessionid":
                    return (child.text or "").strip()
    return ""


def early_session(beginning: bytes) -> str:
    """The session in the header of a message of which only the beginning is there yet."""
    if b"<!" in beginning.partition(b"Body")[0]:
        return ""
    parser = etree.XMLPullParser(events=("end", "start"), **_WARY)
    try:
        parser.feed(beginning)
        for event, element in parser.read_events():
            name = etree.QName(element).localname
            if event == "end" and name == "Header":
                return _session(element)
            if event == "start" and name == "Body":
                return ""
    except etree.XMLSyntaxError:
        pass
    return ""


def _malformed(message: str, allowed: tuple[str, ...] = ()) -> Refused:
    return Refused(Problem("malformed_message", message, allowed=allowed), status=400)


def text_of(element: Element) -> str | None:
    """An element's text; None where it is nil. Refuses (400) elements within it."""
    if element.get(NIL) in ("true", "1"):
        return None
    if len(element):
        name = etree.QName(element).localname
        raise Refused(Problem("malformed_message", "has to be a text", name[:60]), status=400)
    return element.text or ""


def writable(text: str) -> str:
    """The text with what XML cannot hold replaced."""
    return _UNWRITABLE.sub("\ufffd", text)


def put(parent: Element, flavour: Flavour, name: str, text: str | None) -> Element:
    """A new child with that text, nil for None; what XML cannot hold is replaced."""
    child = etree.SubElement(parent, flavour.tag(name))
    if text is None:
        child.set(NIL, "true")
    else:
        child.text = writable(text)
    return child


def response(flavour: Flavour, operation: str) -> Element:
    """The empty element of an answer."""
    names = {None: flavour.namespace, "xsi": INSTANCE}
    return etree.Element(flavour.tag(f"{operation}Response"), nsmap=names)


def answer(content: Element, status: int = 200) -> Answer:
    """An envelope around the element."""
    envelope = etree.Element(f"{{{ENVELOPE}}}Envelope", nsmap={"soap": ENVELOPE})
    etree.SubElement(envelope, f"{{{ENVELOPE}}}Body").append(content)
    return Answer(
        status, etree.tostring(envelope, xml_declaration=True, encoding="UTF-8"), media_type=XML
    )


def fault(problems: Sequence[Problem], status: int, flavour: Flavour = GENERIC) -> Answer:
    """The problems as a fault. SOAP 1.1 wants the status 500 for each."""
    first = problems[0]
    made = etree.Element(f"{{{ENVELOPE}}}Fault", nsmap={"soap": ENVELOPE})
    special = {"version_mismatch": "VersionMismatch", "must_understand": "MustUnderstand"}
    code = special.get(first.code, "Server" if status >= 500 else "Client")
    etree.SubElement(made, "faultcode").text = f"soap:{code}"
    text = f"{first.field}: {first.message}" if first.field else first.message
    if len(problems) > 1:
        text += f" (and {len(problems) - 1} more)"
    etree.SubElement(made, "faultstring").text = writable(text)
    if code in ("Client", "Server"):
        detail = etree.SubElement(made, "detail")
        shown = etree.SubElement(
            detail, flavour.tag("problems"), nsmap={None: flavour.namespace, "xsi": INSTANCE}
        )
        for problem in problems[:MOST_PROBLEMS]:
            put_problem(shown, flavour, problem)
    return answer(made, 500)


def put_problem(parent: Element, flavour: Flavour, problem: Problem) -> None:
    """One problem: code, message, field, the record's place from 1, allowed values."""
    one = etree.SubElement(parent, flavour.tag("problem"))
    put(one, flavour, "code", problem.code)
    put(one, flavour, "message", problem.message)
    if problem.field:
        put(one, flavour, "field", problem.field)
    if problem.line is not None:
        put(one, flavour, "line", str(problem.line))
    for value in problem.allowed:
        put(one, flavour, "allowed", value)
