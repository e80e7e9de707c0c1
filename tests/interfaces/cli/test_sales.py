"""From a lead on, on the command line."""

import json

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
