"""The one place that knows every room: settings, catalogue, rules, and an opened organisation."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from counterfoil.business.accounts.entities import ENTITIES as ACCOUNTS
from counterfoil.business.accounts.rules import CHECKS as ACCOUNT_CHECKS
from counterfoil.business.accounts.rules import CONSEQUENCES as ACCOUNT_CONSEQUENCES
from counterfoil.business.automation.delivering import Courier
from counterfoil.business.automation.entities import ENTITIES as AUTOMATION
from counterfoil.business.automation.jobs import JOB_KINDS as AUTOMATION_JOBS
from counterfoil.business.automation.jobs import SCHEDULES, file_handlers
from counterfoil.business.automation.mailing import VARIABLE as SMTP_URL
from counterfoil.business.automation.mailing import MailServer, SmtpMailer
from counterfoil.business.automation.messages import Channels
from counterfoil.business.automation.network import SETTING as PRIVATE_WEBHOOKS
from counterfoil.business.automation.posting import HttpPoster
from counterfoil.business.automation.provisioning import outside_systems
from counterfoil.business.automation.rules import subscriber_checks
from counterfoil.business.billing.entities import ENTITIES as BILLING
from counterfoil.business.billing.events import EVENT_TYPES as BILLING_EVENTS
from counterfoil.business.billing.jobs import HANDLERS as RENEWAL_HANDLERS
from counterfoil.business.billing.jobs import JOB_KINDS as RENEWAL_JOBS
from counterfoil.business.billing.rules import CHECKS as BILLING_CHECKS
from counterfoil.business.billing.thresholds import check_thresholds
from counterfoil.business.documents.jobs import JOB_KINDS as DOCUMENT_JOBS
from counterfoil.business.documents.jobs import printing_handlers
from counterfoil.business.incentives.entities import ENTITIES as INCENTIVES
from counterfoil.business.incentives.rules import CHECKS as INCENTIVE_CHECKS
from counterfoil.business.orders.entities import ENTITIES as ORDERS
from counterfoil.business.orders.events import EVENT_TYPES as ORDER_EVENTS
from counterfoil.business.orders.jobs import order_handlers
from counterfoil.business.orders.kinds import JOB_KINDS as ORDER_JOBS
from counterfoil.business.orders.rules import CHECKS as ORDER_CHECKS
from counterfoil.business.products.entities import ENTITIES as PRODUCTS
from counterfoil.business.products.rules import CHECKS as PRODUCT_CHECKS
from counterfoil.business.receivables.entities import ENTITIES as RECEIVABLES
from counterfoil.business.receivables.jobs import JOB_KINDS as RECEIVABLES_JOBS
from counterfoil.business.receivables.jobs import billing_handlers
from counterfoil.business.sales.entities import ENTITIES as SALES
from counterfoil.business.sales.events import EVENT_TYPES as SALES_EVENTS
from counterfoil.business.sales.rules import CHECKS as SALES_CHECKS
from counterfoil.business.subscriptions.entities import ENTITIES as SUBSCRIPTIONS
from counterfoil.business.subscriptions.rules import CHECKS as SUBSCRIPTION_CHECKS
from counterfoil.business.usage.collectors import check_collectors
from counterfoil.business.usage.entities import ENTITIES as USAGE
from counterfoil.business.usage.store import UsageStore
from counterfoil.business.usage.watching import UsageWatcher
from counterfoil.platform.access.entities import ENTITIES as ACCESS
from counterfoil.platform.access.openid_settings import OpenIdSettings
from counterfoil.platform.access.rules import access_checks
from counterfoil.platform.engine.choice import open_runner, read_runner
from counterfoil.platform.engine.runner import IN_THIS_PROCESS, Runner
from counterfoil.platform.extracts.entities import ENTITIES as EXTRACTS
from counterfoil.platform.files.entities import ENTITIES as FILES
from counterfoil.platform.files.store import FileStore
from counterfoil.platform.jobs.entities import ENTITIES as JOBS
from counterfoil.platform.jobs.scheduling import CHECKS as SCHEDULE_CHECKS
from counterfoil.platform.jobs.scheduling import make_schedules
from counterfoil.platform.jobs.working import EVENT_TYPES as JOB_EVENTS
from counterfoil.platform.jobs.working import Handler, Worker
from counterfoil.platform.metadata import Catalogue, JobKind, build_catalogue
from counterfoil.platform.metadata.customer_entities import ENTITIES as CUSTOMER
from counterfoil.platform.model.entities import ENTITIES as MODEL
from counterfoil.platform.outbox.emitting import EventType
from counterfoil.platform.outbox.entities import ENTITIES as OUTBOX
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.database_url import read_database_url
from counterfoil.platform.records.organisation_schema import (
    create_database,
    migrate,
    scratch_database,
)
from counterfoil.platform.records.postgres import embedded_server
from counterfoil.platform.records.unit_of_work import RecordCheck, merge_checks
from counterfoil.platform.rules.entities import ENTITIES as RULES
from counterfoil.platform.rules.running import EVENT_TYPES as RULE_EVENTS
from counterfoil.platform.rules.running import CustomerRules

JOB_KINDS: tuple[JobKind, ...] = (
    *RECEIVABLES_JOBS,
    *RENEWAL_JOBS,
    *ORDER_JOBS,
    *DOCUMENT_JOBS,
    *AUTOMATION_JOBS,
)
"""Everything that can be done later; who does it is in :func:`job_handlers`."""

CATALOGUE: Catalogue = build_catalogue(
    (
        *CUSTOMER,
        *MODEL,
        *FILES,
        *RULES,
        *OUTBOX,
        *JOBS,
        *ACCESS,
        *ACCOUNTS,
        *PRODUCTS,
        *SUBSCRIPTIONS,
        *USAGE,
        *INCENTIVES,
        *BILLING,
        *RECEIVABLES,
        *ORDERS,
        *SALES,
        *AUTOMATION,
        *EXTRACTS,
    ),
    job_kinds=JOB_KINDS,
)
"""Every entity of the system, in the order of the rooms."""

EVENT_TYPES: tuple[EventType, ...] = (
    *BILLING_EVENTS,
    *ORDER_EVENTS,
    *SALES_EVENTS,
    *RULE_EVENTS,
    *JOB_EVENTS,
)
"""Everything that webhooks and mail rules can listen to."""

COMMANDS = (
    "accept_quotes",
    "activate_subscriptions",
    "allocate_payments",
    "amend_subscriptions",
    "approve_invoices",
    "approve_orders",
    "approve_quotes",
    "arrange_drafts",
    "bill_one_off",
    "cancel_jobs",
    "cancel_orders",
    "cancel_subscription",
    "change_quantity",
    "complete_tasks",
    "convert_leads",
    "convert_quotes",
    "correct_usage",
    "credit_invoices",
    "debit_invoices",
    "decide_approvals",
    "dismiss_usage",
    "enqueue_jobs",
    "explain_amounts",
    "explain_prices",
    "finalize_invoices",
    "import_usage",
    "keep_files",
    "load_incentives",
    "load_price_book",
    "make_quotes",
    "place_orders",
    "preview_account",
    "print_invoices",
    "record_payments",
    "redeem_coupon",
    "refresh_drafts",
    "refund_payments",
    "release_orders",
    "renew_subscriptions",
    "replay_delivery",
    "rerate",
    "rerun_usage",
    "retry_jobs",
    "reverse_settlements",
    "run_bills",
    "see_current_charges",
    "see_included",
    "see_orders",
    "see_prepaid_balances",
    "see_quotes",
    "see_receivables",
    "see_spending",
    "see_subscriptions_in_force",
    "send_quotes",
    "send_usage",
    "simulate",
    "verify_history",
    "void_invoices",
    "void_prepaid_grant",
    "write_off_invoices",
)
"""What roles grant besides reading and writing records; everything else is the administrators'."""

CHECKS: dict[str, RecordCheck] = merge_checks(
    access_checks(COMMANDS),
    SCHEDULE_CHECKS,
    ACCOUNT_CHECKS,
    PRODUCT_CHECKS,
    SUBSCRIPTION_CHECKS,
    {"collector": check_collectors},
    INCENTIVE_CHECKS,
    BILLING_CHECKS,
    ORDER_CHECKS,
    SALES_CHECKS,
    ACCOUNT_CONSEQUENCES,
)
"""The rooms' own rules, by entity."""

USAGE_WATCHERS: tuple[UsageWatcher, ...] = (UsageWatcher("thresholds", check_thresholds),)
"""Who looks at subscriptions as usage arrives: after an import, and all the time in `serve`."""

DATABASE_NAME = "counterfoil"
PUBLIC_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where an organisation lives.

    ``home`` is the data folder; ``database_url`` names a PostgreSQL server of the user's own in
    place of the embedded one; ``admin_token`` opens the HTTP interface, ``admin_password`` is the
    first password of the user ``admin``; ``runner`` says where
    buckets are rated (platform/engine/choice.py), in this process when it is None.
    ``public_url`` is where others reach the server: links begin with it. ``mail_server`` takes
    mail; with ``private_webhooks`` webhooks may go to private addresses and without TLS.
    """

    home: Path
    database_url: str | None = None
    admin_token: str | None = None
    runner: str | None = None
    mail_server: MailServer | None = None
    private_webhooks: bool = False
    admin_password: str | None = None
    openid: OpenIdSettings | None = None
    public_url: str = PUBLIC_URL

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """Settings from the variables COUNTERFOIL_… that the README lists."""
        variable = "COUNTERFOIL_DATABASE_URL"
        url = env.get(variable)
        runner = env.get("COUNTERFOIL_RUNNER")
        smtp = env.get(SMTP_URL)
        return cls(
            home=Path(env.get("COUNTERFOIL_HOME") or ".counterfoil").absolute(),
            database_url=read_database_url(url, variable) if url else None,
            admin_token=env.get("COUNTERFOIL_ADMIN_TOKEN") or None,
            admin_password=env.get("COUNTERFOIL_ADMIN_PASSWORD") or None,
            openid=OpenIdSettings.from_environment(env),
            runner=read_runner(runner, "COUNTERFOIL_RUNNER") if runner else None,
            mail_server=MailServer.from_url(smtp) if smtp else None,
            private_webhooks=env.get(PRIVATE_WEBHOOKS) == "yes",
            public_url=(env.get("COUNTERFOIL_PUBLIC_URL") or PUBLIC_URL).rstrip("/"),
        )


@dataclass(frozen=True, slots=True)
class Organisation:
    """An opened organisation: its records, its usage, the clock it goes by, where it rates, and
    where others reach it."""

    database: Database
    usage_store: UsageStore
    home: Path
    clock: Callable[[], datetime]
    runner: Runner = IN_THIS_PROCESS
    public_url: str = PUBLIC_URL
    private_webhooks: bool = False

    @property
    def files(self) -> FileStore:
        """The files that records point to."""
        return FileStore(self.home / "files")


def utc_now() -> datetime:
    """The real clock; everything below the interfaces gets its instants as arguments."""
    return datetime.now(UTC)


@contextmanager
def database_server(settings: Settings) -> Iterator[str]:
    """The URL of the organisation's database, on a server that runs at least until the end.

    Whoever opens several organisations in a row keeps the embedded server up by this.
    """
    if settings.database_url is not None:
        yield settings.database_url
        return
    with embedded_server(settings.home) as server:
        create_database(server.url("postgres"), DATABASE_NAME)
        yield server.url(DATABASE_NAME)


@contextmanager
def open_organisation(
    settings: Settings, clock: Callable[[], datetime] = utc_now
) -> Iterator[Organisation]:
    """The organisation of a data folder; made and brought to the newest schema as needed."""
    with database_server(settings) as url:
        migrate(url)
        with (
            open_runner(settings.runner) as runner,
            _opened(url, settings, settings.home, clock, runner) as organisation,
        ):
            yield organisation


@contextmanager
def scratch_organisation(
    settings: Settings,
    clock: Callable[[], datetime] = utc_now,
    *,
    like: Organisation | None = None,
) -> Iterator[Organisation]:
    """An empty organisation of its own on the same server, or a copy of one that nobody uses just
    now; nothing of it stays at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="counterfoil-scratch-") as folder,
        database_server(settings) as server_url,
        scratch_database(server_url, like.database.url if like else None) as url,
        open_runner(settings.runner) as runner,
        _opened(url, settings, Path(folder), clock, runner) as organisation,
    ):
        if like is not None:
            shutil.copytree(like.home, folder, dirs_exist_ok=True)
        yield organisation


@contextmanager
def _opened(
    url: str, settings: Settings, home: Path, clock: Callable[[], datetime], runner: Runner
) -> Iterator[Organisation]:
    subscribers = subscriber_checks(EVENT_TYPES, private=settings.private_webhooks)
    database = Database(url, CATALOGUE, merge_checks(CHECKS, subscribers), CustomerRules())
    try:
        yield Organisation(
            database,
            UsageStore(home / "usage"),
            home,
            clock,
            runner,
            settings.public_url,
            settings.private_webhooks,
        )
    finally:
        database.close()


@contextmanager
def open_courier(organisation: Organisation, settings: Settings) -> Iterator[Courier]:
    """Who delivers the organisation's outgoing events, to webhooks and by mail."""
    poster = HttpPoster(private=settings.private_webhooks)
    try:
        channels = Channels(poster, SmtpMailer(settings.mail_server))
        yield Courier(organisation.database, channels, organisation.clock)
    finally:
        poster.close()


def job_handlers(organisation: Organisation) -> dict[str, Handler]:
    """Who does each kind of job, by its name."""
    return {
        **billing_handlers(organisation.usage_store, organisation.runner),
        **RENEWAL_HANDLERS,
        **order_handlers(
            outside_systems(private=organisation.private_webhooks), organisation.public_url
        ),
        **file_handlers(organisation.files),
        **printing_handlers(organisation.home / "printed"),
    }


def open_worker(organisation: Organisation) -> Worker:
    """Who runs the organisation's jobs; the program's own schedules are there from then on."""
    with organisation.database.transaction(now=organisation.clock(), source="job") as uow:
        make_schedules(uow, SCHEDULES)
    return Worker(organisation.database, job_handlers(organisation), organisation.clock)
