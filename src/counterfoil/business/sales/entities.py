"""Declarations of the sales room."""

from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import (
    EXTERNAL_ID,
    choice,
    date,
    decimal,
    document,
    instant,
    integer,
    reference,
    text,
)

LEAD_STATUSES = ("new", "contacted", "qualified", "unqualified", "converted")
STAGES = ("prospecting", "qualification", "proposal", "negotiation", "won", "lost")
QUOTE_STATUSES = (
    *("draft", "in_approval", "approved", "sent", "accepted", "converted"),
    *("declined", "superseded"),
)
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

QUOTE = Entity(
    name="quote",
    plural="quotes",
    help="What is offered to an account or a lead, in one version. Once sent it never changes.",
    created_by_command=True,
    unique=(("number", "version"),),
    fields=(
        text("number", required=True, computed=True, immutable=True, max_length=40),
        integer("version", required=True, immutable=True, minimum=1),
        choice("status", QUOTE_STATUSES, required=True, default="draft", indexed=True),
        reference("account", immutable=True, indexed=True, help="To whom; or else the lead."),
        reference("lead", immutable=True, indexed=True),
        reference("opportunity", indexed=True),
        text("title", help="What it is about."),
        text("currency", required=True, max_length=3),
        date("start_date", required=True, help="First day of service, where a line says no other."),
        integer("term_months", required=True, default=12, minimum=1, maximum=1200),
        date("valid_until", required=True, help="Last day on which it can be accepted."),
        text("terms", max_length=20_000, help="What is agreed besides prices."),
        text("made_by", required=True, immutable=True, help="User name."),
        decimal(
            "discount_percent", 9, 6, required=True, default=0, help="The highest given_percent."
        ),
        text("approval_asked_by"),
        text("approved_by"),
        instant("approved_at"),
        text("comment", max_length=1000, help="Why it was approved, rejected or declined."),
        decimal("one_off", 20, 4, required=True, default=0),
        decimal("contract_value", 20, 4, required=True, default=0, help="Over the whole term."),
        decimal("list_value", 20, 4, required=True, default=0, help="The same without discounts."),
        document("per_cycle", help="By length of the cycle: cycle, recurring and usage."),
        document("invoices", help="The first invoice and the one after it: date and total."),
        instant("sent_at"),
        document("snapshot", help="Seller and whom it is for, as they were when it was sent."),
        text("document_hash", max_length=64, help="SHA-256 of the PDF as it was sent."),
        reference("stored_file", help="The PDF as it was sent."),
        text("link_key", secret=True, max_length=100),
        instant("link_expires_at"),
        instant("accepted_at"),
        text("accepted_by", help="The name that whoever accepted has given."),
        text("accepted_from", max_length=100, help="Address on the network."),
        choice("accepted_by_way_of", ("link", "hand")),
        text("accepted_hash", max_length=64, help="Of the document that was accepted."),
        reference("order", indexed=True, help="What it was converted to."),
        instant("converted_at"),
    ),
)

QUOTE_LINE = Entity(
    name="quote_line",
    plural="quote_lines",
    help="A rate plan that is offered for a site, with what it comes to.",
    created_by_command=True,
    unique=(("quote_id", "position"),),
    fields=(
        reference("quote", required=True, immutable=True, on_delete="cascade"),
        integer("position", required=True, immutable=True),
        text("site_external_id", help="Of a site of the account or of the lead."),
        reference("rate_plan", required=True, immutable=True),
        text("description", max_length=500),
        document("quantities", required=True, help="External id of a charge to its quantity."),
        document("prices", required=True, help="External id of a charge to an agreed price."),
        date("start_date", required=True),
        integer("term_months", required=True),
        decimal("discount_percent", 9, 6, required=True, default=0),
        decimal(
            "given_percent",
            9,
            6,
            required=True,
            default=0,
            help="The discount, with what agreed prices take off at most.",
        ),
        decimal("one_off", 20, 4, required=True, default=0, help="Once, net of the discount."),
        decimal("recurring", 20, 4, required=True, default=0, help="Full cycles, one each."),
        decimal("usage", 20, 4, required=True, default=0, help="Full cycles, one each."),
        decimal("contract_value", 20, 4, required=True, default=0),
        decimal("list_value", 20, 4, required=True, default=0),
        text("subscription_external_id", unique=True, help="What it became when converted."),
    ),
)

QUOTE_USAGE = Entity(
    name="quote_usage",
    plural="quote_usage",
    label="usage estimate",
    help="What is expected to be used of a meter in a month, for one line.",
    created_by_command=True,
    history=False,
    fields=(
        reference("quote_line", required=True, indexed=True, on_delete="cascade"),
        reference("meter", required=True),
        decimal("quantity", 38, 15, required=True, help="A month, in the meter's unit."),
        integer("events", required=True, default=1, minimum=1, help="In how many events a month."),
        document("attributes", help="Of the events, for prices by dimension."),
    ),
)

QUOTE_CHARGE = Entity(
    name="quote_charge",
    plural="quote_charges",
    help="What a charge of a line comes to in its first full cycle, and why: its counterfoil.",
    created_by_command=True,
    history=False,
    unique=(("quote_line_id", "position"),),
    fields=(
        reference("quote_line", required=True, on_delete="cascade"),
        integer("position", required=True),
        reference("charge"),
        text("kind", required=True, max_length=40, help="As of a rated charge."),
        text("description", required=True, max_length=500),
        text("cycle", required=True, max_length=40, help="once, 1 month, 1 year …"),
        date("service_start", required=True),
        date("service_end", required=True),
        decimal("quantity", 38, 15, required=True),
        text("unit"),
        decimal("unit_amount", 28, 10),
        decimal("exact_amount", 38, 15, required=True),
        decimal("amount", 20, 4, required=True),
        reference("price"),
        text("layer", max_length=40),
        document("steps", required=True, help="Tier by tier."),
        document("explanation", required=True, help="The same in sentences."),
    ),
)

ENTITIES = (
    LEAD,
    LEAD_SITE,
    LEAD_CONTACT,
    OPPORTUNITY,
    QUOTE,
    QUOTE_LINE,
    QUOTE_USAGE,
    QUOTE_CHARGE,
)
