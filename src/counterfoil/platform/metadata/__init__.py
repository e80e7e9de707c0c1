"""Entities and fields as values: declared once, everything else follows from them."""

from counterfoil.platform.metadata.catalogue import Catalogue, build_catalogue
from counterfoil.platform.metadata.entity import Entity, Field, FieldType, Record
from counterfoil.platform.metadata.validation import check_values

__all__ = [
    "Catalogue",
    "Entity",
    "Field",
    "FieldType",
    "Record",
    "build_catalogue",
    "check_values",
]
