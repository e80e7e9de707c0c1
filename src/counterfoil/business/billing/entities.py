"""Declarations of the billing room."""

from counterfoil.core.rating.layers import LAYER_NAMES
from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import (
    boolean,
    choice,
    date,
    decimal,
    document,
    instant,
    integer,
    reference,
    text,
)

ASKED_FOR = document(
    "asked_for",
    immutable=True,
    help="What the request asked for: asked for otherwise, its key is refused.",
)

SELLER = Entity(
    name="seller",
    plural="sellers",
    help="Who issues the invoices: the organisation's own legal details. One record.",
    fields=(
        text("name", required=True),
        text("street"),
        text("city"),
        text("region"),
        text("postal_code", max_length=20),
        text("country", max_length=2, help="ISO 3166-1 alpha-2."),
        text("tax_id", max_length=40),
        text("email", max_length=254),
        text("phone", max_length=40),
        text("website", max_length=200),
        text("payment_instructions", max_length=1000),
        text("logo_svg", max_length=200_000, help="The logo, as SVG source."),
        text("brand_color", max_length=7, default="#1f4e79", help="#rrggbb"),
        text("invoice_prefix", required=True, default="INV-", max_length=12),
        text("credit_note_prefix", required=True, default="CN-", max_length=12),
        text("debit_note_prefix", required=True, default="DN-", max_length=12),
        choice(
            "approval",
            ("none", "above", "all"),
            required=True,
            default="none",
            help="Which documents need approval, where the billing profile does not say.",
        ),
        decimal(
            "approval_above",
            20,
            4,
            minimum=0,
            help="Of `above`: an amount in the currency of each document.",
        ),
    ),
)

BILL_RUN = Entity(
    name="bill_run",
    plural="bill_runs",
    help="One billing of everything due by a date. Running it again adds nothing.",
    created_by_command=True,
    fields=(
        date("billing_date", required=True, immutable=True),
        choice(
            "purpose",
            ("billing", "rerating"),
            required=True,
            default="billing",
            help="billing: what is due; rerating: adjustments of what was billed.",
        ),
        choice("state", ("running", "finished"), required=True, default="running"),
        boolean("finalize", required=True, default=True),
        instant("finished_at"),
        integer(
            "usage_segment_seen",
            help="Highest usage segment considered; usage of later segments for billed cycles is "
            "late and billed by the next run.",
        ),
        integer("invoices", required=True, default=0),
        integer("skipped_accounts", required=True, default=0),
    ),
)

BILLING_PROBLEM = Entity(
    name="billing_problem",
    plural="billing_problems",
    help="Why an account was not billed in a run; mend the cause and run again.",
    created_by_command=True,
    history=False,
    fields=(
        reference("bill_run", required=True, indexed=True),
        reference("account", required=True, indexed=True),
        text("code", required=True, max_length=60),
        text("message", required=True, max_length=1000),
    ),
)

INVOICE = Entity(
    name="invoice",
    plural="invoices",
    help="The document an account is billed with. Final invoices never change.",
    created_by_command=True,
    history=False,
    indexes=(("account_id", "invoice_date"),),
    fields=(
        text(
            "number",
            unique=True,
            max_length=40,
            help="Gapless within its series, given at finalization.",
        ),
        choice(
            "kind",
            ("invoice", "credit_note", "debit_note"),
            required=True,
            help="A document whose total is negative is a credit note; a debit note charges more "
            "for what an invoice billed.",
        ),
        choice(
            "state",
            ("draft", "final", "suppressed", "carried"),
            required=True,
            indexed=True,
            help="Of those that come to nothing: suppressed ones are never issued, the lines of "
            "carried ones go to the next invoice.",
        ),
        reference("account", required=True),
        reference("site", help="The one site it is for, when invoices are split by site."),
        text("purchase_order", max_length=60),
        boolean(
            "arranged",
            help="Merged or split by hand: a draft that is not computed anew.",
        ),
        instant("approved_at"),
        text("approved_by", max_length=200),
        reference("bill_run", indexed=True, help="Empty for documents made by hand."),
        reference(
            "invoice",
            name="corrects_id",
            indexed=True,
            help="The document that this credit or debit note corrects.",
        ),
        choice(
            "correction",
            ("credit", "void", "debit", "reissue"),
            help="What a document that corrects another does: void credits all that was left, "
            "reissue bills again what was voided.",
        ),
        text("reason", max_length=500),
        text(
            "request_key",
            unique=True,
            max_length=200,
            help="Whoever asked for the document calls it so; asked again, nothing is added.",
        ),
        ASKED_FOR,
        text("currency", required=True, max_length=3),
        date("invoice_date", required=True),
        date("due_date", required=True),
        instant("finalized_at"),
        decimal("total", 20, 4, required=True, help="Sum of the lines, in the invoice's currency."),
        integer(
            "usage_segment_seen",
            required=True,
            help="Number of the newest usage segment that its amounts take into account.",
        ),
        document(
            "snapshot",
            required=True,
            help="Seller, bill-to, template, paper and terms as they were.",
        ),
    ),
)

MERGED_ACCOUNT = Entity(
    name="merged_account",
    plural="merged_accounts",
    help="An account beside the invoice's own, of which a draft was merged into the invoice.",
    created_by_command=True,
    history=False,
    unique=(("invoice_id", "account_id"),),
    fields=(
        reference("invoice", required=True, on_delete="cascade"),
        reference("account", required=True, indexed=True),
    ),
)

ADJUSTMENT = Entity(
    name="adjustment",
    plural="adjustments",
    help="A billed cycle of a subscription charge that was rated again with another result. Its "
    "rated charges are those taken back (kind adjustment, naming the one they reverse) and those "
    "that stand in their place.",
    created_by_command=True,
    history=False,
    indexes=(("invoice_id",), ("subscription_charge_id", "cycle_start")),
    fields=(
        reference("invoice", required=True, on_delete="cascade"),
        reference("subscription_charge", required=True),
        date("cycle_start", required=True),
        date("cycle_end", required=True),
        text("currency", required=True, max_length=3),
        decimal("billed_amount", 20, 4, required=True, help="Net of all that was billed before."),
        decimal("rated_amount", 20, 4, required=True, help="What the cycle costs rated again."),
    ),
)

KINDS = ("one_time", "recurring", "usage", "reversal", "adjustment")
"""Kinds of rated charges that stand for service, given or taken back."""

APPLIED_KINDS = ("minimum", "maximum", "discount", "true_up", "prepaid")
"""Kinds that change what other rated charges come to."""

MANUAL_KINDS = ("credit", "debit", "one_off")
"""Kinds that someone asked for: what a credit note gives back of another rated charge, what a debit
note or a reissued invoice adds to one, and what stands on a one-off invoice."""

RATED_CHARGE = Entity(
    name="rated_charge",
    plural="rated_charges",
    help="The priced result for one subscription charge and service period, or what a minimum, "
    "discount, commitment or prepaid balance adds to it; with its counterfoil.",
    created_by_command=True,
    history=False,
    unique=(
        ("subscription_charge_id", "cycle_start", "service_start", "part"),
        ("discount_id", "applies_to_id"),
        ("commitment_id", "subject_id", "cycle_start", "part"),
        ("prepaid_grant_id", "invoice_id", "part"),
    ),
    indexes=(("invoice_id",),),
    fields=(
        reference("invoice", required=True, on_delete="cascade"),
        reference(
            "subscription_charge",
            help="Empty for a commitment, a prepaid balance and a one-off invoice.",
        ),
        choice("kind", (*KINDS, *APPLIED_KINDS, *MANUAL_KINDS), required=True),
        date("cycle_start", required=True),
        date("cycle_end", required=True),
        date("service_start", required=True),
        date("service_end", required=True),
        integer(
            "part",
            required=True,
            help="0 for the first billing of this service period; late usage and reversals count "
            "on, credits and debits have numbers below 0.",
        ),
        reference(
            "rated_charge",
            indexed=True,
            help="The rated charge of which a reversal or credit gives back a share, or which an "
            "adjustment takes back.",
            name="reverses_id",
        ),
        reference(
            "adjustment",
            indexed=True,
            help="The adjustment this belongs to: what it takes back (kind adjustment), or what "
            "stands in its place.",
        ),
        reference(
            "rated_charge",
            indexed=True,
            on_delete="cascade",
            help="The rated charge that a minimum, maximum, discount or debit changes.",
            name="applies_to_id",
        ),
        reference("discount"),
        reference("account", name="holder_id", help="Whose discount it is."),
        reference("commitment"),
        integer(
            "subject_id",
            help="The subscription a commitment is kept by; 0 when it is not one subscription's.",
        ),
        reference("prepaid_grant"),
        reference("price"),
        choice("layer", LAYER_NAMES),
        decimal("quantity", 38, 15, required=True, help="Priced units of this rated charge."),
        decimal(
            "quantity_before",
            38,
            15,
            required=True,
            help="Priced units of the same cycle billed before: where in the tiers this begins.",
        ),
        decimal(
            "included_quantity",
            38,
            15,
            required=True,
            help="Priced units covered by the price's included quantity.",
        ),
        integer("events", required=True),
        integer("days", required=True),
        integer("cycle_days", required=True),
        decimal(
            "list_amount",
            38,
            15,
            required=True,
            help="What it would cost without the included quantity, unrounded.",
        ),
        decimal(
            "exact_amount",
            38,
            15,
            required=True,
            help="Amount to 15 decimals, before the rounding to the currency's minor unit.",
        ),
        decimal(
            "amount",
            20,
            4,
            required=True,
            help="Rounded half-up, once, to the currency's minor unit.",
        ),
        text("currency", required=True, max_length=3),
        document(
            "steps",
            required=True,
            help="Tier by tier: tier, quantity, unit_amount, flat_amount, amount.",
        ),
        document(
            "formulas",
            help="The formulas that decided: place, formula, told (with the values put in), "
            "values, result.",
        ),
    ),
)

ALLOWANCE_DRAW = Entity(
    name="allowance_draw",
    plural="allowance_draws",
    help="What a rated charge drew from the allowance that an entitlement granted for a cycle.",
    created_by_command=True,
    history=False,
    indexes=(("entitlement_id", "owner_id"),),
    fields=(
        reference("rated_charge", required=True, indexed=True, on_delete="cascade"),
        reference("entitlement", required=True),
        integer(
            "owner_id",
            required=True,
            help="Whose allowance it is: id of the subscription, site or account that the "
            "entitlement is pooled over.",
        ),
        date("granted_cycle_start", required=True, help="First day of the cycle that granted it."),
        decimal("quantity", 38, 15, required=True, help="Priced units; negative when given back."),
    ),
)

RATED_CHARGE_PARTIAL = Entity(
    name="rated_charge_partial",
    plural="rated_charge_partials",
    help="A partial price that was laid over the price of a rated charge.",
    created_by_command=True,
    history=False,
    unique=(("rated_charge_id", "position"),),
    fields=(
        reference("rated_charge", required=True, on_delete="cascade"),
        integer("position", required=True, help="From 1, the most specific first."),
        reference("price", required=True, indexed=True),
    ),
)

INVOICE_LINE = Entity(
    name="invoice_line",
    plural="invoice_lines",
    help="A billed item of an invoice, with its texts as they were.",
    created_by_command=True,
    history=False,
    unique=(("invoice_id", "position"),),
    fields=(
        reference("invoice", required=True, on_delete="cascade"),
        integer("position", required=True),
        reference("rated_charge", required=True, unique=True, on_delete="cascade"),
        text("account_name", required=True),
        text("site_name"),
        text("product_name", required=True),
        text("description", required=True, max_length=500),
        date("service_start", required=True),
        date("service_end", required=True),
        decimal("quantity", 38, 15, required=True),
        text("unit", required=True),
        decimal(
            "unit_amount", 28, 10, help="Set when one unit amount applied to the whole quantity."
        ),
        decimal("amount", 20, 4, required=True),
        document("custom_fields", help="Of the site and the subscription, as they were."),
    ),
)

ENTITIES = (
    SELLER,
    BILL_RUN,
    BILLING_PROBLEM,
    INVOICE,
    MERGED_ACCOUNT,
    ADJUSTMENT,
    RATED_CHARGE,
    RATED_CHARGE_PARTIAL,
    ALLOWANCE_DRAW,
    INVOICE_LINE,
)
