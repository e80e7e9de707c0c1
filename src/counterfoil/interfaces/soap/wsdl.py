"""The two descriptions: the generic one, the same for all and for years, and the typed one, made
from the catalogue that the caller sees at this moment."""

from collections.abc import Sequence
from functools import lru_cache

from lxml import etree

from counterfoil.interfaces.soap.envelope import Element, writable
from counterfoil.interfaces.soap.messages import FIELD_VALUE, MESSAGES, RECORD, SHARED, Part
from counterfoil.interfaces.soap.names import (
    GENERIC,
    OVER_HTTP,
    SCHEMA,
    TYPED,
    WSDL,
    WSDL_SOAP,
    Flavour,
)
from counterfoil.platform.metadata import Catalogue, Entity, Field, FieldType
from counterfoil.platform.records.pages import OPERATORS

_OFTEN = {"1": ("1", "1"), "?": ("0", "1"), "*": ("0", "unbounded"), "+": ("1", "unbounded")}

_TYPES = {
    FieldType.INTEGER: "xsd:long",
    FieldType.REFERENCE: "xsd:long",
    FieldType.DECIMAL: "xsd:decimal",
    FieldType.BOOLEAN: "xsd:boolean",
    FieldType.DATE: "xsd:date",
    FieldType.INSTANT: "xsd:dateTime",
}


def generic_wsdl(address: str) -> bytes:
    """The stable description."""
    root, schema = _begin(GENERIC)
    _sequence(schema, "FieldValue", FIELD_VALUE[:1])
    pair = schema[-1][0]
    etree.SubElement(pair, _xsd("element"), name="value", type="xsd:string", nillable="true")
    _sequence(schema, "Record", RECORD)
    return _finish(root, schema, address)


@lru_cache(maxsize=64)
def typed_wsdl(catalogue: Catalogue, address: str) -> bytes:
    """The description of the entities in a catalogue; kept for the catalogues used last."""
    root, schema = _begin(TYPED)
    etree.SubElement(schema, _xsd("complexType"), name="Record", abstract="true")
    for entity in catalogue.entities.values():
        _entity(schema, entity)
    return _finish(root, schema, address)


def _entity(schema: Element, entity: Entity) -> None:
    made = etree.SubElement(schema, _xsd("complexType"), name=entity.name)
    _document(made, entity.help)
    content = etree.SubElement(made, _xsd("complexContent"))
    extension = etree.SubElement(content, _xsd("extension"), base="tns:Record")
    sequence = etree.SubElement(extension, _xsd("sequence"))
    secrets = [field for field in entity.fields if field.secret]
    for field in (*entity.readable, *secrets):
        _field(sequence, field)


def _field(sequence: Element, field: Field) -> None:
    element = etree.SubElement(
        sequence, _xsd("element"), name=field.name, minOccurs="0", nillable="true"
    )
    _document(element, field.help)
    if field.type is not FieldType.CHOICE:
        element.set("type", _TYPES.get(field.type, "xsd:string"))
        return
    simple = etree.SubElement(element, _xsd("simpleType"))
    _enumeration(simple, field.choices)


def _document(element: Element, text: str) -> None:
    if text:
        note = etree.SubElement(element, _xsd("annotation"))
        etree.SubElement(note, _xsd("documentation")).text = writable(text)


def _enumeration(simple: Element, values: Sequence[str]) -> None:
    restriction = etree.SubElement(simple, _xsd("restriction"), base="xsd:string")
    for value in values:
        etree.SubElement(restriction, _xsd("enumeration"), value=writable(value))


def _begin(flavour: Flavour) -> tuple[Element, Element]:
    names = {None: WSDL, "soap": WSDL_SOAP, "xsd": SCHEMA, "tns": flavour.namespace}
    root = etree.Element(
        _wsdl("definitions"),
        nsmap=names,
        name=f"Counterfoil-{flavour.name}",
        targetNamespace=flavour.namespace,
    )
    types = etree.SubElement(root, _wsdl("types"))
    schema = etree.SubElement(
        types,
        _xsd("schema"),
        targetNamespace=flavour.namespace,
        elementFormDefault="qualified",
    )
    return root, schema


def _finish(root: Element, schema: Element, address: str) -> bytes:
    for name, parts in SHARED.items():
        _sequence(schema, name, parts)
    operator = etree.SubElement(schema, _xsd("simpleType"), name="Operator")
    _enumeration(operator, OPERATORS)
    _element(schema, "SessionHeader", [("SessionID", "xsd:string", "1")])
    _element(schema, "problems", [("problem", "tns:Problem", "+")])
    for name, (asked, told) in MESSAGES.items():
        _element(schema, name, asked)
        _element(schema, f"{name}Response", told)
    _messages(root)
    _port(root)
    _binding(root)
    service = etree.SubElement(root, _wsdl("service"), name="Counterfoil")
    port = etree.SubElement(service, _wsdl("port"), name="soap", binding="tns:CounterfoilBinding")
    etree.SubElement(port, _soap("address"), location=address)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _messages(root: Element) -> None:
    elements = {
        "SessionHeader": ("SessionHeader", "SessionHeader"),
        "problems": ("problems", "problems"),
    }
    for name in MESSAGES:
        elements[f"{name}Request"] = ("parameters", name)
        elements[f"{name}Response"] = ("parameters", f"{name}Response")
    for message, (part, element) in elements.items():
        made = etree.SubElement(root, _wsdl("message"), name=message)
        etree.SubElement(made, _wsdl("part"), name=part, element=f"tns:{element}")


def _port(root: Element) -> None:
    port = etree.SubElement(root, _wsdl("portType"), name="CounterfoilPort")
    for name in MESSAGES:
        operation = etree.SubElement(port, _wsdl("operation"), name=name)
        etree.SubElement(operation, _wsdl("input"), message=f"tns:{name}Request")
        etree.SubElement(operation, _wsdl("output"), message=f"tns:{name}Response")
        etree.SubElement(operation, _wsdl("fault"), name="problems", message="tns:problems")


def _binding(root: Element) -> None:
    binding = etree.SubElement(
        root, _wsdl("binding"), name="CounterfoilBinding", type="tns:CounterfoilPort"
    )
    etree.SubElement(binding, _soap("binding"), style="document", transport=OVER_HTTP)
    for name in MESSAGES:
        operation = etree.SubElement(binding, _wsdl("operation"), name=name)
        etree.SubElement(operation, _soap("operation"), soapAction="")
        asked = etree.SubElement(operation, _wsdl("input"))
        if name != "login":
            etree.SubElement(
                asked,
                _soap("header"),
                message="tns:SessionHeader",
                part="SessionHeader",
                use="literal",
            )
        etree.SubElement(asked, _soap("body"), use="literal")
        etree.SubElement(etree.SubElement(operation, _wsdl("output")), _soap("body"), use="literal")
        told = etree.SubElement(operation, _wsdl("fault"), name="problems")
        etree.SubElement(told, _soap("fault"), name="problems", use="literal")


def _element(schema: Element, name: str, parts: Sequence[Part]) -> None:
    element = etree.SubElement(schema, _xsd("element"), name=name)
    _parts(etree.SubElement(element, _xsd("complexType")), parts)


def _sequence(schema: Element, name: str, parts: Sequence[Part]) -> None:
    _parts(etree.SubElement(schema, _xsd("complexType"), name=name), parts)


def _parts(made: Element, parts: Sequence[Part]) -> None:
    sequence = etree.SubElement(made, _xsd("sequence"))
    for name, kind, often in parts:
        least, most = _OFTEN[often]
        etree.SubElement(
            sequence, _xsd("element"), name=name, type=kind, minOccurs=least, maxOccurs=most
        )


def _xsd(name: str) -> str:
    return f"{{{SCHEMA}}}{name}"


def _wsdl(name: str) -> str:
    return f"{{{WSDL}}}{name}"


def _soap(name: str) -> str:
    return f"{{{WSDL_SOAP}}}{name}"
