"""From a lead on, on the command line."""

import json
from pathlib import Path

from tests.interfaces.cli.test_simulate import Run, run

__all__ = ["run"]


def test_a_lead_becomes_an_account(run: Run) -> None:
    added = run(
        *("leads", "add", "FAIR-17", "--company", "Globex", "--currency", "USD"),
        *("--person", "Ada", "--country", "US", "--source", "fair", "--json"),
    )
    assert added.exit_code == 0, added.output
    assert json.loads(added.stdout)["status"] == "new"
    made = run("leads", "convert", "FAIR-17", "--account", "GLOBEX", "--amount", "5", "--json")
    assert json.loads(made.stdout) == [
        {
            "lead": "FAIR-17",
            "account": "GLOBEX",
            "opportunity": "FAIR-17",
            "contacts": 1,
            "sites": 1,
            "fresh": True,
        }
    ]
    (listed,) = json.loads(run("leads", "list", "--status", "converted", "--json").stdout)
    assert listed["company"] == "Globex"
    for arguments, said in (
        (("leads", "convert", "NOBODY"), "there is no lead"),
        (("leads", "convert", "A", "B", "--account", "C"), "goes with a single lead"),
        (("leads", "add", "L", "--company", "L", "--currency", "QQQ"), "QQQ"),
    ):
        refused = run(*arguments)
        assert (refused.exit_code, said in refused.output) == (2, True), refused.output


QUOTES = """\
quotes:
  - account: ACME
    title: Calls
    start_date: 2026-07-01
    valid_until: 2099-12-31
    lines:
      - {rate_plan: plan, usage: [{meter: calls, quantity: 100, attributes: {region: eu}}]}
      - rate_plan: plan
        discount_percent: 5
"""


def test_a_quote_becomes_an_order_and_an_invoice(run: Run) -> None:
    Path("quotes.yaml").write_text(QUOTES, encoding="utf-8")
    made = run("quotes", "make", "quotes.yaml", "--json")
    assert made.exit_code == 0, made.output
    (quote,) = json.loads(made.stdout)
    assert [quote[one] for one in ("number", "status", "party", "contract_value")] == [
        "Q-000001",
        "draft",
        "ACME",
        "60",
    ]
    shown = json.loads(run("quotes", "show", "Q-000001", "--json").stdout)
    assert [row["amount"] for row in shown] == ["5.00", "0.00"]
    assert "100 seconds × 0.05" in shown[0]["explanation"]
    assert run("quotes", "ask-approval", "Q-000001").stdout == "Q-000001 is approved.\n"
    sent = run("quotes", "send", "Q-000001", "--pdf", "q.pdf")
    assert "/accept/1." in sent.stdout, sent.output
    assert Path("q.pdf").read_bytes()[:5] == b"%PDF-"
    revised = run("quotes", "revise", "Q-000001")
    assert revised.stdout.startswith("Q-000001/2 for Acme: 60.00 USD"), revised.output
    assert run("quotes", "send", "Q-000001").exit_code == 0
    accepted = run("quotes", "accept", "Q-000001/2", "--by", "Ada")
    assert accepted.stdout == "Q-000001/2 was accepted by Ada.\n", accepted.output
    wanted = ("quotes", "convert", "Q-000001", "--bill", "--on", "2026-08-01", "--json")
    for fresh in (True, False):
        answer = run(*wanted)
        assert answer.exit_code == 0, answer.output
        (converted,) = json.loads(answer.stdout)["converted"]
        assert (converted["order"], converted["fresh"]) == ("Q-000001", fresh)
    states = json.loads(run("quotes", "list", "--json").stdout)
    assert [row["status"] for row in states] == ["superseded", "converted"]


def test_what_is_wrong_with_a_file_of_quotes_is_told_by_its_lines(run: Run) -> None:
    bad = QUOTES.replace("rate_plan: plan\n", "rate_plan: nothing\n").replace("calls,", "x,")
    Path("quotes.yaml").write_text(bad, encoding="utf-8")
    answer = run("quotes", "make", "quotes.yaml")
    assert answer.exit_code == 2
    assert "quotes.yaml:7" in answer.output
    assert "quotes.yaml:8" in answer.output
    Path("quotes.yaml").write_text(QUOTES.replace("5\n", "500\n") + "  - {}\n", encoding="utf-8")
    answer = run("quotes", "make", "quotes.yaml")
    assert (answer.exit_code, "quotes.yaml:10" in answer.output) == (2, True), answer.output
    assert json.loads(run("quotes", "list", "--json").stdout) == []
    assert run("quotes", "send", "Q-1").exit_code == 2
