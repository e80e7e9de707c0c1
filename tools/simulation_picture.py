"""Draws docs/images/simulation.png, the chart in docs/simulation.md, from made-up data."""

from datetime import date
from decimal import Decimal
from pathlib import Path

from counterfoil.business.billing.simulation import Amounts, Row, Simulation
from counterfoil.business.billing.window import Window
from counterfoil.business.documents.charts import png_chart
from counterfoil.business.documents.simulation_chart import simulation_chart

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "simulation.png"

PRODUCTS = (
    ("conferencing", "premier-dial-out", "412806.40", "379781.89"),
    ("conferencing", "toll-free", "186200.12", "191786.12"),
    ("managed", "managed-room", "238500.00", "238500.00"),
)
ACCOUNTS = (
    ("NORDIC", "Nordic Bearings", "61020.40", "54102.77"),
    ("HALCYON", "Halcyon Group", "48211.05", "43500.10"),
    ("ATLAS", "Atlas Freight", "29800.00", "31004.35"),
    ("ORCHARD", "Orchard Foods", "22410.90", "21300.72"),
    ("LUMEN", "Lumen Optics", "9120.00", "9755.60"),
)


def _row(names: tuple[str, ...], present: str, draft: str) -> Row:
    return Row(names, "USD", Amounts(Decimal(present), Decimal(present), Decimal(draft)))


def draw() -> bytes:
    """The chart as PNG."""
    products = tuple(_row((product, charge), *sums) for product, charge, *sums in PRODUCTS)
    accounts = tuple(_row((account, name), *sums) for account, name, *sums in ACCOUNTS)
    present, draft = (
        sum((getattr(row.amounts, side) for row in products), Decimal(0))
        for side in ("present", "draft")
    )
    total = _row((), str(present), str(draft))
    window = Window(date(2026, 1, 1), date(2026, 7, 1))
    return png_chart(simulation_chart(Simulation(window, 1000, (total,), products, accounts, ())))


if __name__ == "__main__":
    PICTURE.write_bytes(draw())
