"""The demo's stages, from an empty organisation to printed invoices, through ordinary commands.

Every stage may be repeated and may be interrupted anywhere: what is there already is recognised,
and running the whole demo again completes it and adds nothing else.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.commands import run_bills
from counterfoil.business.billing.explanation import Explanation, explain_line
from counterfoil.business.documents.commands import render_invoices
from counterfoil.business.usage.collectors import save_collectors
from counterfoil.business.usage.commands import import_file
from counterfoil.business.usage.compaction import compact
from counterfoil.business.usage.intake import BatchSummary
from counterfoil.interfaces.demo.organisation import build_organisation
from counterfoil.interfaces.demo.parameters import DemoParameters
from counterfoil.interfaces.demo.price_book import price_book_text
from counterfoil.interfaces.demo.sale import sell
from counterfoil.interfaces.demo.saving import save_organisation, save_prices, save_subscriptions
from counterfoil.interfaces.demo.subscriptions import build_subscriptions
from counterfoil.interfaces.demo.usage_files import (
    BRIDGE,
    PLATFORM,
    Planted,
    UsageFile,
    write_usage_files,
)
from counterfoil.platform.metadata import Record

PRINTED_INVOICES = 50
"""How many invoices the demo prints."""

Progress = Callable[[int, int], None]
"""Called with what is done and the whole."""

Facts = dict[str, int | Decimal]
"""What a stage counted, by its name in words."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A finished stage: what this run did in it. ``new`` counts what was not there before."""

    title: str
    facts: Facts
    new: int


Import = tuple[UsageFile, BatchSummary]
"""A file and what became of it."""

Watch = Callable[[str], AbstractContextManager[Progress]]
"""Opens a stage by its title on whatever shows the progress."""


@dataclass(frozen=True, slots=True)
class Defect:
    """A kind of defect of a collector's files: how many were planted, how many were found."""

    collector: str
    kind: str
    planted: int
    found: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the organisation holds after the demo, whichever run brought it about.

    ``totals`` are (currency, invoices, total); ``printed`` the PDF files. ``late_arrivals`` were
    planted, and ``late_lines`` invoice lines bill usage of cycles before the month. ``minutes``
    are the participant minutes billed. ``quote`` is the PDF of what a new customer was sold.
    """

    stages: list[Stage]
    defects: list[Defect]
    late_arrivals: int
    late_lines: int
    minutes: int
    totals: list[tuple[str, int, Decimal]]
    printed: list[Path]
    quote: Path
    explained_invoice: str
    explanation: Explanation

    @property
    def nothing_new(self) -> bool:
        """Whether everything was there already, so that nothing was billed twice."""
        return not any(stage.new for stage in self.stages)


REASONS = {
    "duplicate": "duplicate",
    "unknown_subscriber": "unknown_subscriber",
    "negative_duration": "negative_quantity",
    "absurd_duration": "absurd_quantity",
    "unparsable_time": "unparsable_time",
    "unknown_service": "unknown_service",
}
"""As what a planted defect is found by the import; late arrivals are accepted."""


class DemoRun:
    """One run of the demo in an opened organisation."""

    def __init__(self, house: Organisation, parameters: DemoParameters, watch: Watch) -> None:
        self.house = house
        self.database = house.database
        self.store = house.usage_store
        self.runner = house.runner
        self.folder = house.home / "demo"
        self.parameters = parameters
        self.now = parameters.now
        self.watch = watch
        self.stages: list[Stage] = []
        self.organisation = build_organisation(parameters.accounts, parameters.seed)

    def run(self) -> Outcome:
        """All stages in order; each is told to the watch and noted with its counts."""
        self._create_organisation()
        self._save_prices_and_subscriptions()
        files, planted = self._write_files()
        imports = self._import(files)
        self._compact()
        self._bill()
        printed = self._print()
        quote = self._sell()
        return Outcome(
            self.stages,
            compare_defects(planted, imports),
            sum(part.defects["late_arrival"] for part in planted.values()),
            *self._usage_billed(),
            _totals(self),
            printed,
            quote,
            *_explain_something(self),
        )

    def _note(self, title: str, facts: Facts, new: int) -> None:
        self.stages.append(Stage(title, facts, new))

    def _create_organisation(self) -> None:
        title = "Create organisation"
        with self.watch(title) as progress:
            created = save_organisation(self.database, self.organisation, now=self.now)
            progress(1, 1)
        facts: Facts = {
            "accounts": len(self.organisation.accounts),
            "sites": len(self.organisation.sites),
            "countries": len(self.organisation.countries),
            "contacts": len(self.organisation.contacts),
            "billing profiles": len(self.organisation.billing_profiles),
        }
        self._note(title, facts, sum(created.values()))

    def _save_prices_and_subscriptions(self) -> None:
        parameters = self.parameters
        subscriptions = build_subscriptions(
            self.organisation, parameters.first_month, parameters.seed
        )
        title = "Save price book"
        with self.watch(title) as progress:
            text = price_book_text(self.organisation, subscriptions.activations)
            file = self.folder / "price_book.yaml"
            file.write_text(text, encoding="utf-8")
            new = save_prices(self.database, text, str(file), now=self.now)
            progress(1, 1)
        with self.database.transaction(now=self.now) as uow:
            row = uow.query(_PRICED)[0]
        self._note(title, _counts(row), new)
        title = "Activate subscriptions"
        with self.watch(title) as progress:
            created = save_subscriptions(self.database, subscriptions, now=self.now)
            progress(1, 1)
        facts: Facts = {
            "subscriptions": len(subscriptions.activations),
            "quantity changes": len(subscriptions.changes),
            "cancellations": len(subscriptions.cancellations),
        }
        self._note(title, facts, sum(created.values()))

    def _write_files(self) -> tuple[list[UsageFile], dict[str, Planted]]:
        title = "Write usage files"
        month = self.parameters.month
        with self.watch(title) as progress:
            files, planted = write_usage_files(
                self.organisation, month, self.parameters.seed, self.folder / "usage"
            )
            progress(1, 1)
        facts: Facts = {"files": len(files), "records": sum(file.records for file in files)}
        self._note(title, facts, 0)
        return files, planted

    def _import(self, files: list[UsageFile]) -> list[Import]:
        title = "Import usage"
        imports: list[Import] = []
        with self.watch(title) as progress:
            self._save_collectors()
            size = sum(file.path.stat().st_size for file in files)
            done = 0
            for file in files:
                summary = import_file(
                    self.database,
                    self.store,
                    file.collector,
                    file.path,
                    now=self.now,
                    progress=_further(progress, done, size),
                )
                imports.append((file, summary))
                done += file.path.stat().st_size
                progress(done, size)
        summaries = [summary for _, summary in imports]
        facts: Facts = {
            "records": sum(summary.records_read for summary in summaries),
            "accepted": sum(summary.accepted for summary in summaries),
            "duplicate": sum(summary.duplicate for summary in summaries),
            "rejected": sum(summary.rejected for summary in summaries),
        }
        self._note(title, facts, sum(not summary.already_imported for summary in summaries))
        return imports

    def _save_collectors(self) -> None:
        """Only what is missing: a collector that a person has changed since stays as it is."""
        with self.database.transaction(now=self.now) as uow:
            for name in (BRIDGE, PLATFORM):
                if uow.find("collector", external_id=name) is None:
                    file = Path(__file__).parent / "collectors" / f"{name}.yaml"
                    save_collectors(uow, file.read_text(encoding="utf-8"), file.name)

    def _compact(self) -> None:
        title = "Compact usage"
        with self.watch(title) as progress:
            compact(self.database, self.store, now=self.now)
            progress(1, 1)
        with self.database.transaction(now=self.now) as uow:
            row = uow.query(_SEGMENTS)[0]
        self._note(title, _counts(row), 0)

    def _bill(self) -> None:
        title = "Bill the month"
        with self.watch(title) as progress:
            summary = run_bills(
                self.database,
                self.store,
                self.parameters.billing_date,
                now=self.now,
                progress=progress,
                runner=self.runner,
            )
        facts: Facts = {
            "accounts": summary.accounts,
            "invoices": summary.invoices,
            "lines": summary.lines,
            "problems": len(summary.problems),
        }
        self._note(title, facts, summary.invoices)

    def _print(self) -> list[Path]:
        title = "Print invoices"
        folder = self.folder / "invoices"
        with self.watch(title) as progress:
            with self.database.transaction(now=self.now) as uow:
                rows = uow.query(_TO_PRINT, date=self.parameters.billing_date)
            step = max(1, len(rows) // PRINTED_INVOICES)
            chosen = rows[::step][:PRINTED_INVOICES]
            there = {path.stem for path in folder.glob("*.pdf")}
            ids = [int(str(row["id"])) for row in chosen if row["number"] not in there]
            render_invoices(self.database, ids, folder, now=self.now, progress=progress)
        self._note(title, {"invoices": len(ids)}, len(ids))
        return [folder / f"{row['number']}.pdf" for row in chosen]

    def _sell(self) -> Path:
        title = "Sell to a new customer"
        with self.watch(title) as progress:
            sale = sell(self.house, self.parameters, self.folder)
            progress(1, 1)
        self._note(title, sale.facts, sale.new)
        return sale.document

    def _usage_billed(self) -> tuple[int, int]:
        """Lines for cycles before the month, and participant minutes on all lines."""
        with self.database.transaction(now=self.now) as uow:
            parameters = self.parameters
            row = uow.query(_USAGE_BILLED, date=parameters.billing_date, month=parameters.month)[0]
        return int(str(row["late_lines"])), int(Decimal(str(row["minutes"])))


_PRICED = """
SELECT (SELECT count(*) FROM rate_plan) AS rate_plans, (SELECT count(*) FROM charge) AS charges,
       (SELECT count(*) FROM price) AS prices,
       (SELECT count(DISTINCT currency) FROM price) AS currencies
"""

_SEGMENTS = """
SELECT count(*) AS files, sum(events) AS events FROM usage_segment WHERE state <> 'replaced'
"""

_USAGE_BILLED = """
SELECT count(*) FILTER (WHERE c.events > 0 AND c.service_end <= :month) AS late_lines,
       coalesce(sum(c.quantity) FILTER (WHERE l.unit = 'minute'), 0) AS minutes
FROM rated_charge c
JOIN invoice_line l ON l.rated_charge_id = c.id
JOIN invoice i ON i.id = c.invoice_id JOIN bill_run r ON r.id = i.bill_run_id
WHERE r.billing_date = :date AND c.kind = 'usage'
"""

_TO_PRINT = """
SELECT i.id, i.number FROM invoice i JOIN bill_run r ON r.id = i.bill_run_id
WHERE r.billing_date = :date AND i.state = 'final' ORDER BY i.number
"""

_TOTALS = """
SELECT i.currency, count(*) AS invoices, sum(i.total) AS total
FROM invoice i JOIN bill_run r ON r.id = i.bill_run_id
WHERE r.billing_date = :date GROUP BY i.currency ORDER BY count(*) DESC, i.currency
"""

# A line worth explaining: priced by a layer of the customer's own, in more than one tier.
_WORTH_EXPLAINING = """
SELECT l.id, i.number FROM invoice_line l
JOIN rated_charge c ON c.id = l.rated_charge_id
JOIN invoice i ON i.id = l.invoice_id
JOIN bill_run r ON r.id = i.bill_run_id
WHERE r.billing_date = :date AND c.kind = 'usage' AND c.amount > 0
ORDER BY jsonb_array_length(c.steps) > 1 DESC, c.layer <> 'list' DESC, i.number, l.position LIMIT 1
"""


def _counts(row: Record) -> Facts:
    return {name: int(str(value or 0)) for name, value in row.items()}


def _further(progress: Progress, done: int, size: int) -> Progress:
    """Progress within one of several files: ``done`` bytes of ``size`` lie before it."""
    return lambda read, _all: progress(done + read, size)


def compare_defects(planted: Mapping[str, Planted], imports: Sequence[Import]) -> list[Defect]:
    """Planted and found, by collector and kind; any other reason of rejection follows."""
    found: Counter[tuple[str, str]] = Counter()
    for file, summary in imports:
        found[file.collector, "duplicate"] += summary.duplicate
        for reason, count in summary.rejected_by_reason.items():
            found[file.collector, reason] += count
    table = [
        Defect(collector, kind, part.defects[kind], found.pop((collector, reason), 0))
        for collector, part in planted.items()
        for kind, reason in REASONS.items()
    ]
    return table + [Defect(where, what, 0, count) for (where, what), count in found.items()]


def _totals(run: DemoRun) -> list[tuple[str, int, Decimal]]:
    with run.database.transaction(now=run.now) as uow:
        rows = uow.query(_TOTALS, date=run.parameters.billing_date)
    return [
        (str(row["currency"]), int(str(row["invoices"])), Decimal(str(row["total"])))
        for row in rows
    ]


def _explain_something(run: DemoRun) -> tuple[str, Explanation]:
    """Number of an invoice and the explanation of one of its lines."""
    with run.database.transaction(now=run.now) as uow:
        row = uow.query(_WORTH_EXPLAINING, date=run.parameters.billing_date)[0]
        return str(row["number"]), explain_line(uow, run.store, int(str(row["id"])))
