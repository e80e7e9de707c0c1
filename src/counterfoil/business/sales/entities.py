"""Declarations of the sales room."""

from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import (
    EXTERNAL_ID,
    choice,
    date,
    decimal,
    instant,
    integer,
    reference,
    text,
)

LEAD_STATUSES = ("new", "contacted", "qualified", "unqualified", "converted")
STAGES = ("prospecting", "qualification", "proposal", "negotiation", "won", "lost")
CONTACT_ROLES = ("billing", "technical", "commercial")

_PLACE = (
    text("street"),
    text("city"),
    text("region"),
    text("postal_code", max_length=20),
)

LEAD = Entity(
    name="lead",
    plural="leads",
    help="A company that may become a customer, with whom to talk to. Converted, it is an account.",
    fields=(
        EXTERNAL_ID,
        text("company", required=True),
        text("person", help="Whom to talk to."),
        text("email", max_length=254),
        text("phone", max_length=40),
        *_PLACE,
        text("country", max_length=2, help="ISO 3166-1 alpha-2."),
        text("tax_id", max_length=40),
        text("currency", required=True, max_length=3, help="In which it would be billed."),
        text("time_zone", required=True, max_length=64, default="UTC", help="IANA name."),
        text("source", indexed=True, help="Where it comes from: fair, website, partner …"),
        choice("status", LEAD_STATUSES, required=True, default="new", indexed=True),
        text("owner", indexed=True, help="User name of who looks after it."),
        text("note", max_length=4000),
        reference("account", computed=True, indexed=True, help="What it was converted to."),
        instant("converted_at", computed=True),
    ),
)

LEAD_SITE = Entity(
    name="lead_site",
    plural="lead_sites",
    help="A place of a lead where service is wanted; a site of the account once converted.",
    fields=(
        EXTERNAL_ID,
        reference("lead", required=True, immutable=True, indexed=True, on_delete="cascade"),
        text("name", required=True),
        *_PLACE,
        text("country", required=True, max_length=2, help="ISO 3166-1 alpha-2."),
        text("p_code", max_length=12, help="Tax jurisdiction code of the place."),
        text("time_zone", max_length=64, help="IANA name."),
    ),
)

LEAD_CONTACT = Entity(
    name="lead_contact",
    plural="lead_contacts",
    help="A further person of a lead; a contact of the account once converted.",
    fields=(
        EXTERNAL_ID,
        reference("lead", required=True, immutable=True, indexed=True, on_delete="cascade"),
        text("name", required=True),
        text("email", max_length=254),
        text("phone", max_length=40),
        choice("role", CONTACT_ROLES, default="commercial"),
    ),
)

OPPORTUNITY = Entity(
    name="opportunity",
    plural="opportunities",
    help="A sale that may come about with an account.",
    fields=(
        EXTERNAL_ID,
        reference("account", required=True, immutable=True, indexed=True),
        reference("lead", computed=True, unique=True, help="The lead it began as."),
        text("name", required=True),
        choice("stage", STAGES, required=True, default="prospecting", indexed=True),
        decimal("amount", 20, 4, minimum=0),
        text("currency", max_length=3, help="ISO 4217 code; goes with the amount."),
        integer(
            "probability",
            minimum=0,
            maximum=100,
            help="In percent; where none is given, what is usual at the stage.",
        ),
        date("close_date", help="When it is expected to be decided."),
        text("owner", indexed=True, help="User name of who looks after it."),
        text("source"),
    ),
)

ENTITIES = (LEAD, LEAD_SITE, LEAD_CONTACT, OPPORTUNITY)
