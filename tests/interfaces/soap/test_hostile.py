"""Messages that are none, or mean harm: a fault each time, and nothing is changed."""

import base64

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from tests.interfaces.conftest import Place

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
NAMESPACE = "urn:counterfoil:soap:generic:1"


def enveloped(inside: str, *, before: str = "", header: str = "") -> bytes:
    """A message around an element of ours."""
    return (
        f'{before}<s:Envelope xmlns:s="{ENVELOPE}" xmlns="{NAMESPACE}">{header}'
        f"<s:Body>{inside}</s:Body></s:Envelope>"
    ).encode()


def post(place: Place, body: bytes, **headers: str) -> etree._Element:
    """The fault that a message is answered with."""
    given_headers = {
        "Authorization": f"Bearer {place.token}",
        "Content-Type": "text/xml",
        **headers,
    }
    with place.client(**given_headers) as client:
        answer = client.post("/soap", content=body)
    root = etree.fromstring(answer.content)
    fault = root.find(f"{{{ENVELOPE}}}Body/{{{ENVELOPE}}}Fault")
    assert fault is not None, answer.text
    assert answer.status_code == 500
    return fault


def code_of(fault: etree._Element) -> str:
    """The first problem's code, or what kind of fault it is."""
    found = fault.find("detail//{*}code")
    return str(found.text if found is not None else fault.findtext("faultcode"))


SECRET = "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
LAUGHS = "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
CREATE = (
    "<create><record><entity>account</entity><field><name>external_id</name>"
    "<value>{0}</value></field><field><name>name</name><value>{0}</value></field></record></create>"
)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed_message"),
        (b"{}", "malformed_xml"),
        (b"<a><b></a>", "malformed_xml"),
        (b"<a/>", "malformed_message"),
        (b"\xff\xfe<\x00a\x00/\x00>\x00", "malformed_message"),
        (b'<?xml version="1.0" encoding="UTF-7"?>+ADw-a/+AD4-', "malformed_message"),
        (enveloped("<query/><query/>"), "malformed_message"),
        (enveloped("<query xmlns='urn:other'/>"), "malformed_message"),
        (enveloped("<teleport/>"), "unknown_operation"),
        (enveloped("<query/>"), "required"),
        (enveloped("<query><entity>ghost</entity></query>"), "unknown_entity"),
        (enveloped("<query><entity>account</entity><limit>all</limit></query>"), "wrong_type"),
        (enveloped("<query><entity>account</entity><limit>5000</limit></query>"), "bad_limit"),
        (enveloped("<query><entity>account</entity><sort>ghost</sort></query>"), "unknown_field"),
        (enveloped("<query><entity><b/></entity></query>"), "malformed_message"),
        (enveloped("<create><record><entity>account</entity></record></create>"), "required"),
        (enveloped("<create/>"), "required"),
        (
            enveloped(
                "<query><entity>account</entity>"
                + "<filter><field>name</field><value>x</value></filter>" * 101
                + "</query>"
            ),
            "too_many_records",
        ),
        (
            enveloped(
                "<query><entity>account</entity><filter><field>name</field><operator>in</operator>"
                + "<value>x</value>" * 10_001
                + "</filter></query>"
            ),
            "too_many_records",
        ),
        (enveloped("<query>" + "<x/>" * 100_000 + "</query>"), "malformed_message"),
        (enveloped("<query><entity>account</entity><where>x</where></query>"), "malformed_message"),
        (
            enveloped(
                "<query><entity>account</entity><filter><field>name</field><opertor>ne</opertor>"
                "<value>x</value></filter></query>"
            ),
            "malformed_message",
        ),
        (
            enveloped("<query><entity>account</entity><limit>1</limit><limit>2</limit></query>"),
            "malformed_message",
        ),
        (enveloped(CREATE.format("N").replace("</value>", "</value><x/>", 1)), "malformed_message"),
        (enveloped("<logout><now/></logout>"), "malformed_message"),
        (enveloped("<create><record><field/></record></create>"), "malformed_message"),
        (enveloped("<a>" * 40 + "</a>" * 40), "malformed_message"),
        (enveloped(CREATE.format("&e;"), before=SECRET), "forbidden_xml"),
        (enveloped(CREATE.format("&b;"), before=LAUGHS), "forbidden_xml"),
        (enveloped(CREATE.format("&e;")), "malformed_xml"),
        (
            enveloped("<query/>", before='<?xml version="1.0"?>').decode().encode("cp037"),
            "malformed_message",
        ),
        (b"<" * 1_000_001, "body_too_large"),
        (b" " * (16 * 1024 * 1024 + 1), "body_too_large"),
    ],
)
def test_a_message_that_cannot_be_followed(place: Place, body: bytes, code: str) -> None:
    before = place.count("account")
    assert code_of(post(place, body)) == code
    assert place.count("account") == before


def test_the_next_version_of_soap_and_headers_that_must_be_understood(place: Place) -> None:
    newer = enveloped("<query/>").replace(
        ENVELOPE.encode(), b"http://www.w3.org/2003/05/soap-envelope"
    )
    assert post(place, newer).findtext("faultcode") == "soap:VersionMismatch"
    header = "<s:Header><x:Pay xmlns:x='urn:x' s:mustUnderstand='1'/></s:Header>"
    understood = post(place, enveloped("<query/>", header=header))
    assert understood.findtext("faultcode") == "soap:MustUnderstand"


def test_who_is_not_known_changes_nothing(place: Place) -> None:
    before = place.count("account")
    basic = "Basic " + base64.b64encode(b"admin:wrong").decode()
    for authorization in ("", "Bearer guess", basic, "Bearer"):
        fault = post(place, enveloped(CREATE.format("stranger")), Authorization=authorization)
        assert code_of(fault) == "unauthorized"
    login = "<login><username>admin</username><password>wrong</password></login>"
    assert code_of(post(place, enveloped(login))) == "unauthorized"
    assert place.count("account") == before


def test_a_fault_names_field_line_and_what_is_allowed(place: Place) -> None:
    field = "<field><name>status</name><value>asleep</value></field>"
    record = f"<record><entity>account</entity>{field}</record>"
    fault = post(place, enveloped(f"<create>{record}{record}</create>"))
    problem = fault.find(f"detail/{{{NAMESPACE}}}problems/{{{NAMESPACE}}}problem[5]")
    problems = fault.findall(f"detail/{{{NAMESPACE}}}problems/{{{NAMESPACE}}}problem")
    chosen = [one for one in problems if one.findtext("{*}code") == "unknown_choice"][1]
    assert chosen.findtext("{*}field") == "status"
    assert chosen.findtext("{*}line") == "2"
    assert [one.text for one in chosen.findall("{*}allowed")] == ["active", "closed"]
    assert problem is not None
    assert fault.findtext("faultcode") == "soap:Client"


def test_text_that_xml_cannot_hold_comes_out_replaced(place: Place) -> None:
    with place.client(Authorization=f"Bearer {place.token}") as client:
        made = client.post("/api/v1/accounts", json={"external_id": "CTRL", "name": "a\u0001b"})
        body = enveloped(
            f"<retrieve><entity>account</entity><id>{made.json()['id']}</id></retrieve>"
        )
        answer = client.post("/soap", content=body)
    assert answer.status_code == 200
    assert "a\ufffdb" in answer.text


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_garbage_is_a_fault(place: Place, garbage: bytes) -> None:
    for body in (garbage, enveloped("<query>") + garbage):
        assert post(place, body).findtext("faultcode") == "soap:Client"
