"""Namespaces of the SOAP interface, and its two flavours of one set of operations."""

from dataclasses import dataclass

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
SCHEMA = "http://www.w3.org/2001/XMLSchema"
INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
WSDL = "http://schemas.xmlsoap.org/wsdl/"
WSDL_SOAP = "http://schemas.xmlsoap.org/wsdl/soap/"
OVER_HTTP = "http://schemas.xmlsoap.org/soap/http"


@dataclass(frozen=True, slots=True)
class Flavour:
    """How records stand in messages: as names and values, or as elements of a type of their own."""

    name: str
    namespace: str
    typed: bool

    def tag(self, local: str) -> str:
        """An element's name in the flavour's namespace."""
        return f"{{{self.namespace}}}{local}"


GENERIC = Flavour("generic", "urn:counterfoil:soap:generic:1", typed=False)
"""Stable: a record is its entity and pairs of names and values."""

TYPED = Flavour("typed", "urn:counterfoil:soap:typed:1", typed=True)
"""Made from the catalogue of the moment: a record is of its entity's type."""

FLAVOURS = {one.namespace: one for one in (GENERIC, TYPED)}
