"""Batches billed at the same time come to what one after the other comes to."""

from datetime import date

import pytest

from counterfoil.business.billing import commands

JAN = date(2024, 1, 1)


def test_two_workers_bill_each_account_once_with_gapless_numbers(
    company, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        company.open_account(f"A{number}")
        company.subscribe(f"S{number}", f"A{number}", "rooms", JAN)
    monkeypatch.setattr(commands, "BATCH_ACCOUNTS", 3)
    seen: list[tuple[int, int]] = []

    summary = company.bill(JAN, workers=2, progress=lambda *counts: seen.append(counts))

    assert (summary.accounts, summary.invoices, summary.problems) == (7, 7, [])
    assert seen[-1] == (7, 7)
    assert sorted(str(line[0]) for line in company.lines()) == [f"INV-{n:06}" for n in range(1, 8)]
    assert company.bill(JAN, workers=2).invoices == 0


def test_what_breaks_one_batch_leaves_the_others_whole_and_the_rest_to_the_next_run(
    company, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = []
    for number in range(6):
        ids.append(company.open_account(f"A{number}"))
        company.subscribe(f"S{number}", f"A{number}", "rooms", JAN)
    monkeypatch.setattr(commands, "BATCH_ACCOUNTS", 2)
    compute = commands.compute_bills

    def failing(uow, store, accounts, *args, **options):
        if ids[3] in accounts:
            raise ConnectionError("the plug was pulled")
        return compute(uow, store, accounts, *args, **options)

    monkeypatch.setattr(commands, "compute_bills", failing)
    with pytest.raises(ConnectionError):
        company.bill(JAN, workers=2)
    monkeypatch.setattr(commands, "compute_bills", compute)
    before = company.counts()[0]
    assert before in (0, 2, 4)

    assert company.bill(JAN, workers=2).invoices == 6 - before
    assert sorted(str(line[0]) for line in company.lines()) == [f"INV-{n:06}" for n in range(1, 7)]
