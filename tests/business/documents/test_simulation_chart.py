"""The chart of a simulation: a section per currency, exact labels, drawn without a network."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from counterfoil.business.billing.simulation import Amounts, Row, Simulation
from counterfoil.business.billing.window import Window
from counterfoil.business.documents.charts import chart_format, json_chart, svg_chart
from counterfoil.business.documents.simulation_chart import simulation_chart
from counterfoil.core.problems import Refused


def row(names: tuple[str, ...], currency: str, present: str, draft: str) -> Row:
    return Row(names, currency, Amounts(Decimal(0), Decimal(present), Decimal(draft)))


REPORT = Simulation(
    Window(date(2026, 1, 1), date(2026, 7, 1)),
    2,
    (row((), "EUR", "100.00", "90.00"), row((), "USD", "0.00", "1234.50")),
    (
        row(("conf", "room"), "EUR", "100.00", "90.00"),
        row(("conf", "call"), "USD", "0.00", "1234.50"),
    ),
    (
        row(("ACME", "Acme & Söhne"), "EUR", "100.00", "90.00"),
        row(("BETA", "<Beta>"), "USD", "0.00", "1234.50"),
    ),
    (),
)


def test_every_currency_has_its_section_with_exact_labels() -> None:
    text = json.dumps(simulation_chart(REPORT), ensure_ascii=False)
    for label in ("EUR 100.00 to 90.00", "-10.00 (-10.0 %)", "USD 0.00 to 1,234.50", "+1,234.50"):
        assert label in text
    assert json.loads(json_chart(simulation_chart(REPORT)))["vconcat"][0]["title"]["text"]


def test_it_is_drawn_with_the_names_as_they_are() -> None:
    svg = svg_chart(simulation_chart(REPORT)).decode()
    assert "ACME · Acme &amp; Söhne" in svg
    assert "BETA · &lt;Beta&gt;" in svg
    empty = Simulation(REPORT.window, 0, (), (), (), ())
    assert b"Nothing was rated" in svg_chart(simulation_chart(empty))


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(Refused, match=r"\.gif"):
        chart_format(Path("chart.gif"))
