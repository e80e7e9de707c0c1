"""Declarations of the orders room.

All days are local to the time zone of the billing profile that bills the account.
"""

from counterfoil.business.subscriptions.entities import KINDS as CHANGES
from counterfoil.business.subscriptions.entities import PRORATIONS
from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import (
    EXTERNAL_ID,
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

STATUSES = ("draft", "submitted", "approved", "in_progress", "completed", "cancelled")
"""The path of an order; it may be cancelled from each but completed."""

LINE_KINDS = ("add", *CHANGES)
"""What a line may ask for: a new subscription, or an amendment of one."""

LINE_STATUSES = ("waiting", "provisioning", "activated", "failed", "cancelled")

BILLING_STARTS = ("on_activation", "on_acceptance", "on_provisioning_done", "on_date")
"""From which day a line is billed."""

RENEWALS = ("evergreen", "renew", "end")

STEP_KINDS = ("checklist", "webhook", "wait")
"""Who finishes a task: a person, an outside system, or the calendar."""

TASK_STATES = ("waiting", "open", "done", "skipped", "failed", "cancelled")

ORDER_LIMIT = Entity(
    name="order_limit",
    plural="order_limits",
    help="Up to which amount orders are approved by being submitted. Without one for its currency, "
    "or without an amount, an order waits until somebody approves it.",
    fields=(
        text("currency", required=True, unique=True, immutable=True, max_length=3),
        decimal("amount", 20, 4, required=True, minimum=0),
    ),
)

DISCOUNT_LIMIT = Entity(
    name="discount_limit",
    apart=True,
    plural="discount_limits",
    help="Up to which discount users of a role may send a quote, or submit an order, without "
    "anybody's approval, and approve those of others.",
    fields=(
        reference("access_role", required=True, unique=True, immutable=True, on_delete="cascade"),
        decimal("percent", 9, 6, required=True, minimum=0, maximum=100),
    ),
)

ORDER = Entity(
    name="order",
    plural="orders",
    help="What an account has asked for, line by line.",
    created_by_command=True,
    indexes=(("status",),),
    fields=(
        EXTERNAL_ID,
        text("number", required=True, unique=True, computed=True, max_length=20),
        reference("account", required=True, immutable=True, indexed=True),
        choice("status", STATUSES, required=True, computed=True),
        date("order_date", required=True),
        date(
            "accepted_on",
            required=True,
            help="When the customer accepted it: lines that say on_acceptance are billed from then "
            "on.",
        ),
        text("purchase_order", max_length=60, help="The customer's number of it."),
        reference("contract", indexed=True),
        integer("term_months", minimum=1, maximum=1200, help="For lines that say none."),
        decimal("amount", 20, 4, minimum=0, help="What it is worth; see order_limit."),
        text("currency", max_length=3),
        decimal(
            "discount_percent",
            9,
            6,
            required=True,
            computed=True,
            default=0,
            help="The highest of a line; see discount_limit.",
        ),
        text("placed_by", required=True, computed=True),
        text("approved_by", computed=True, help="A user, or limit."),
        instant("approved_at", computed=True),
        text("comment", max_length=1000, computed=True, help="Of who approved or cancelled it."),
        text("content_digest", required=True, computed=True, max_length=200),
    ),
)

ORDER_LINE = Entity(
    name="order_line",
    plural="order_lines",
    help="One thing an order asks for: a subscription to begin, or a change of one.",
    created_by_command=True,
    unique=(("order_id", "position"),),
    indexes=(("subscription_external_id",),),
    fields=(
        reference("order", required=True, immutable=True),
        integer("position", required=True, immutable=True, minimum=1),
        choice("kind", LINE_KINDS, required=True, immutable=True),
        choice("status", LINE_STATUSES, required=True, computed=True),
        reference("account", required=True, indexed=True, help="Whose service it is."),
        reference("site", indexed=True, help="Where the service is used; lines are grouped by it."),
        text("subscription_external_id", required=True, immutable=True),
        reference("subscription", computed=True, indexed=True),
        reference("amendment", computed=True, indexed=True),
        reference("rate_plan", indexed=True),
        reference("charge", indexed=True),
        decimal("quantity", 18, 6),
        document("quantities", help="External id of a charge to its quantity; 1 where absent."),
        document("prices", help="External id of a charge to the agreed price of a unit."),
        decimal(
            "discount_percent",
            9,
            6,
            required=True,
            computed=True,
            default=0,
            help="What the agreed prices take off at most.",
        ),
        document("identifiers", help="Tokens in usage records that mean the subscription."),
        reference("contact", indexed=True),
        reference("contract", indexed=True),
        reference("account", name="invoice_account_id", indexed=True),
        date("effective_date", help="The day on which service or change is to begin."),
        boolean("next_period", required=True, default=False, help="Of a change: with a cycle."),
        choice("proration", PRORATIONS, required=True, default="by_day"),
        choice("billing_start", BILLING_STARTS, required=True, default="on_activation"),
        date("billing_date", help="Of on_date."),
        date("end_date"),
        date("trial_end"),
        integer("term_months", minimum=1, maximum=1200),
        choice("renewal", RENEWALS, required=True, default="evergreen"),
        decimal("amount", 28, 10, minimum=0, help="Of a change: a new price, or a fee."),
        decimal("uplift_percent", 9, 4, minimum=0, maximum=1000, help="Of renewals."),
        decimal("fee_percent", 9, 4, minimum=0, maximum=1000, help="Of a cancellation."),
        boolean("charged", required=True, default=False, help="Of a suspension: charges go on."),
        date("until", help="Of a change: the new end, end of the term or of the trial."),
        reference("account", name="to_account_id", indexed=True, help="Of a transfer."),
        reference("site", name="to_site_id", indexed=True, help="Of a transfer."),
        text("successor"),
        text("purchase_order", max_length=60),
        text("reason", max_length=1000),
        date("provisioned_on", computed=True, help="When the last of its tasks was done."),
        date("activated_on", computed=True, help="First day of the service or the new state."),
        date("billed_from", computed=True, help="First day that is billed by it."),
        text("problem", max_length=2000, computed=True, help="Why it failed."),
    ),
)

PROVISIONING_STEP = Entity(
    name="provisioning_step",
    plural="provisioning_steps",
    help="What has to be done before a line of a product or rate plan is activated: a template of "
    "tasks.",
    fields=(
        EXTERNAL_ID,
        reference("product", indexed=True, help="For all its rate plans; or else:"),
        reference("rate_plan", indexed=True),
        choice("line_kind", LINE_KINDS, required=True, default="add", help="Of which lines."),
        integer(
            "position",
            required=True,
            minimum=1,
            maximum=1000,
            help="Tasks are done in this order; those of one position side by side.",
        ),
        choice("kind", STEP_KINDS, required=True),
        text("name", required=True),
        text("instructions", max_length=4000, help="For who does it."),
        text("url", max_length=2000, help="Of a webhook: what is called, https://…"),
        text(
            "secret",
            secret=True,
            max_length=100,
            help="Of a webhook: whsec_ and 24 to 64 random bytes in base64; never answered.",
        ),
        boolean(
            "calls_back",
            required=True,
            default=False,
            help="Of a webhook: it is done when the outside system has called back, else when it "
            "has answered.",
        ),
        integer(
            "days",
            minimum=-3660,
            maximum=3660,
            help="Of a wait: until so many days after the line's effective date, without one after "
            "its turn has come.",
        ),
        boolean("retired", required=True, default=False, help="New orders do without it."),
    ),
)

PROVISIONING_TASK = Entity(
    name="provisioning_task",
    plural="provisioning_tasks",
    help="Something to be done for an order line before it is activated.",
    created_by_command=True,
    indexes=(("order_line_id", "position"), ("state", "due_on")),
    fields=(
        reference("order", required=True, immutable=True, indexed=True),
        reference("order_line", required=True, immutable=True),
        reference("provisioning_step", required=True, immutable=True, indexed=True),
        integer("position", required=True, immutable=True),
        choice("kind", STEP_KINDS, required=True, immutable=True),
        text("name", required=True, immutable=True),
        choice("state", TASK_STATES, required=True, computed=True),
        date("due_on", computed=True, help="Of a wait: the day it is over."),
        date("done_on", computed=True),
        text("done_by", computed=True),
        text("note", max_length=2000, computed=True, help="What was said, or why it was skipped."),
        integer("attempts", required=True, default=0, computed=True, help="Calls made."),
        text("error", max_length=2000, computed=True, help="Why the last call failed."),
        text("call_back_key", secret=True, computed=True, max_length=64),
        instant("call_back_until", computed=True, help="Until when a call back is taken."),
    ),
)

ENTITIES = (ORDER_LIMIT, DISCOUNT_LIMIT, ORDER, ORDER_LINE, PROVISIONING_STEP, PROVISIONING_TASK)
