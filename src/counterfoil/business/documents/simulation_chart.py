"""The chart of a simulation: per currency what the charges cost before and after, and the accounts
that change most. What does not change is left out where something does."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from counterfoil.business.billing.simulation import Row, Simulation
from counterfoil.business.documents.charts import FONT, Spec

PRESENT, DRAFT = "#a9b4c2", "#1f4e79"
MORE, LESS = "#1f4e79", "#c8651b"
WIDTH = 560
LABELS = 240
"""Pixels for the names, so that all panels begin alike."""
ROOM = 110
"""Pixels beside the bars for what stands at their ends."""
SHOWN = 15
"""Bars of one panel, at most."""

_PARSE = {"amount": "number"}


def simulation_chart(report: Simulation) -> Spec:
    """The specification: one section per currency, amounts in its major units."""
    changing = {row.currency for row in report.products if row.amounts.change}
    sections = [
        _section(report, total)
        for total in report.totals
        if total.currency in changing or not changing
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "config": {
            "font": FONT,
            "view": {"stroke": None},
            "axis": {"labelLimit": LABELS, "gridColor": "#e6e9ee", "domain": False, "ticks": False},
            "title": {
                "anchor": "start",
                "frame": "group",
                "font": FONT,
                "subtitleFont": FONT,
                "fontSize": 13,
                "subtitleColor": "#5a6472",
            },
        },
        "background": "white",
        "padding": 16,
        "spacing": 28,
        "vconcat": sections or [_NOTHING],
        "resolve": {"scale": {"x": "independent", "y": "independent", "color": "independent"}},
    }


_NOTHING: Spec = {"title": "Nothing was rated", "data": {"values": []}, "mark": "bar"}


def _section(report: Simulation, total: Row) -> dict[str, object]:
    currency = total.currency
    products = [row for row in report.products if row.currency == currency]
    products = [row for row in products if row.amounts.change] or products
    accounts = [row for row in report.accounts if row.currency == currency and row.amounts.change]
    panels = [_cost_panel(products[:SHOWN])]
    if accounts:
        panels.append(_change_panel(accounts[:SHOWN], currency))
    return {
        "title": {
            "text": f"{currency} {_money(total.amounts.present)} to {_money(total.amounts.draft)}",
            "subtitle": f"change {change_text(total)}; cycles that begin "
            f"{report.window.start} to before {report.window.end}",
            "font": FONT,
            "fontSize": 18,
            "offset": 8,
        },
        "vconcat": panels,
        "spacing": 18,
        "resolve": {"scale": {"x": "independent", "y": "independent", "color": "independent"}},
    }


def _cost_panel(rows: Sequence[Row]) -> dict[str, object]:
    """Two bars per charge: with the present prices, and with the draft."""
    values = [
        {
            "what": " · ".join(name for name in row.names if name),
            "side": side,
            "amount": format(amount, "f"),
            "label": _money(amount),
        }
        for row in rows
        for side, amount in (("present", row.amounts.present), ("draft", row.amounts.draft))
    ]
    color = {
        "field": "side",
        "type": "nominal",
        "scale": {"domain": ["present", "draft"], "range": [PRESENT, DRAFT]},
        "legend": {"orient": "top", "title": None, "direction": "horizontal"},
    }
    return _bars("Cost by product and charge", values, color, offset=True)


def _change_panel(rows: Sequence[Row], currency: str) -> dict[str, object]:
    """One bar per account, to the right what it pays more, to the left what it pays less."""
    values = [
        {
            "what": " · ".join(dict.fromkeys(row.names)),
            "side": "more" if row.amounts.change > 0 else "less",
            "amount": format(row.amounts.change, "f"),
            "label": change_text(row),
        }
        for row in rows
    ]
    color = {
        "field": "side",
        "type": "nominal",
        "scale": {"domain": ["more", "less"], "range": [MORE, LESS]},
        "legend": None,
    }
    return _bars(f"Greatest changes by account, {currency}", values, color, offset=False)


def _bars(
    title: str, values: Sequence[Mapping[str, str]], color: Mapping[str, object], *, offset: bool
) -> dict[str, object]:
    offsets = {"yOffset": {"field": "side", "sort": ["present", "draft"]}} if offset else {}
    return {
        "title": title,
        "width": WIDTH,
        "height": {"step": 16 if offset else 22},
        "data": {"values": list(values), "format": {"parse": _PARSE}},
        "encoding": {
            "y": {
                "field": "what",
                "type": "nominal",
                "title": None,
                "sort": [row["what"] for row in values],
                "axis": {"minExtent": LABELS},
            },
            "x": {
                "field": "amount",
                "type": "quantitative",
                "title": None,
                "axis": {"format": ",~f", "tickCount": 6},
                "scale": {"padding": 0 if offset else ROOM},
            },
            **offsets,
        },
        "layer": [
            {
                "mark": {"type": "bar", "cornerRadiusEnd": 2},
                "encoding": {
                    "color": color,
                    "tooltip": [
                        {"field": "what", "title": "what"},
                        {"field": "side", "title": "side"},
                        {"field": "label", "title": "amount"},
                    ],
                },
            },
            {
                "transform": [{"filter": "datum.amount >= 0"}],
                "mark": {"type": "text", "align": "left", "dx": 4, "fontSize": 10},
                "encoding": {"text": {"field": "label"}, "color": {"value": "#2b333d"}},
            },
            {
                "transform": [{"filter": "datum.amount < 0"}],
                "mark": {"type": "text", "align": "right", "dx": -4, "fontSize": 10},
                "encoding": {"text": {"field": "label"}, "color": {"value": "#2b333d"}},
            },
        ],
    }


def _money(amount: Decimal) -> str:
    return f"{amount:,f}"


def change_text(row: Row) -> str:
    """A change with its sign, and in percent where there was something before."""
    text = f"{row.amounts.change:+,f}"
    percent = row.change_percent
    if percent is None:
        return text
    if not percent and row.amounts.change:
        return f"{text} (< 0.1 %)"
    return f"{text} ({percent:+f} %)"
