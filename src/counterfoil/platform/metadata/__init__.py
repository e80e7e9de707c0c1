"""Entities and fields as values: declared once, everything else follows from them."""

from counterfoil.platform.metadata.access import FULL_ACCESS, Access
from counterfoil.platform.metadata.catalogue import Catalogue, build_catalogue
from counterfoil.platform.metadata.customer import (
    CustomEntity,
    CustomerModel,
    CustomField,
    FieldKind,
)
from counterfoil.platform.metadata.entity import Entity, Field, FieldType, RareIndex, Record
from counterfoil.platform.metadata.job_kinds import JobKind
from counterfoil.platform.metadata.validation import check_values

__all__ = [
    "FULL_ACCESS",
    "Access",
    "Catalogue",
    "CustomEntity",
    "CustomField",
    "CustomerModel",
    "Entity",
    "Field",
    "FieldKind",
    "FieldType",
    "JobKind",
    "RareIndex",
    "Record",
    "build_catalogue",
    "check_values",
]
