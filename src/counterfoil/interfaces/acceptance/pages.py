"""The pages as HTML: texts are escaped here and nowhere else."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from itertools import groupby

from counterfoil.business.sales.queries import Quote
from counterfoil.business.sales.words import ENGLISH, cycle_told
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.money.written import without_zeros
from counterfoil.platform.metadata import Record

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1d2430}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-weight:300;color:#1f4e79;margin-bottom:0}h2{font-size:1.1rem;margin:2rem 0 .3rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .5rem;border-bottom:1px solid #d9dde3;vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap}th{font-size:.8rem;color:#667080}
.total{background:#f2f5f9;border-radius:.5rem;padding:1rem;font-size:1.2rem;margin:1.5rem 0}
.quiet{color:#667080}pre{white-space:pre-wrap;font:inherit}
form{border:1px solid #d9dde3;border-radius:.5rem;padding:1rem;margin:2rem 0}
input[type=text]{font:inherit;padding:.4rem;width:20rem;max-width:95%}
button{font:inherit;padding:.5rem 1.5rem;background:#1f4e79;color:#fff;border:0;border-radius:.3rem}
"""

_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-robots-tag": "noindex, nofollow",
}


def offer_page(quote: Quote, seller: str, path: str) -> str:
    """What is offered, and the form to accept it; ``path`` is that of the link."""
    row = quote.row
    until = escape(str(row["valid_until"]))
    form = (
        f'<form method="post" action="{escape(path)}">'
        "<p><label>Your name<br>"
        '<input type="text" name="name" required maxlength="200" autocomplete="name"></label></p>'
        '<p><label><input type="checkbox" name="confirm" value="yes" required> '
        f"I accept quote {escape(quote.name)} for {escape(quote.party)}.</label></p>"
        "<p><button>Accept</button></p>"
        f'<p class="quiet">Until {until}. Your name, the time and the address you come from are '
        "kept with the document.</p></form>"
    )
    return _page(f"Quote {quote.name}", _told(quote, seller, path) + form)


def accepted_page(quote: Quote, seller: str, path: str) -> str:
    """That it was accepted, by whom and when."""
    row = quote.row
    when = row["accepted_at"].strftime("%Y-%m-%d %H:%M UTC")
    said = (
        f'<p class="total">Accepted by {escape(str(row["accepted_by"]))} on {escape(when)}. '
        "Thank you.</p>"
    )
    return _page(f"Quote {quote.name}", said + _told(quote, seller, path))


def refusal_page(messages: Iterable[str]) -> str:
    """Why nothing is shown."""
    return _page("Quote", "".join(f"<p>{escape(one)}</p>" for one in messages))


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    )


def _told(quote: Quote, seller: str, path: str) -> str:
    row = quote.row
    currency = str(row["currency"])
    head = f"<p>{escape(seller)} offers to {escape(quote.party)}"
    head += f": {escape(str(row['title']))}</p>" if row["title"] else "</p>"
    terms = f"<h2>Terms</h2><pre>{escape(str(row['terms']))}</pre>" if row["terms"] else ""
    return (
        f'{head}<p><a href="{escape(path)}/quote.pdf">The quote as PDF</a> '
        f'<span class="quiet">SHA-256 {escape(str(row["document_hash"]))}</span></p>'
        f"{_sites(quote.lines, currency)}"
        f'<p class="total">Contract value over {int(row["term_months"])} months from '
        f"{escape(str(row['start_date']))}: "
        f"{escape(currency)} {_money(row['contract_value'], currency)}</p>{terms}"
    )


def _sites(lines: Sequence[Record], currency: str) -> str:
    ordered = sorted(lines, key=lambda line: (line["site_name"] or "", line["position"]))
    parts = []
    for site, rows in groupby(ordered, key=lambda line: line["site_name"]):
        cells = "".join(_row(line, charge, currency) for line in rows for charge in line["charges"])
        parts.append(
            f"<h2>{escape(site or 'Not bound to a site')}</h2><table><thead><tr><th>Service</th>"
            '<th>Charged</th><th class="n">Quantity</th><th class="n">Amount</th></tr></thead>'
            f"<tbody>{cells}</tbody></table>"
        )
    return "".join(parts)


def _row(line: Record, charge: Record, currency: str) -> str:
    counted = charge["quantity"] != 0 and charge["kind"] != "discount"
    quantity = f"{without_zeros(charge['quantity'])} {charge['unit'] or ''}" if counted else ""
    charged = cycle_told(charge["cycle"], ENGLISH)
    amount = _money(charge["amount"], currency)
    if charge["kind"] == "usage":
        charged += ", estimated" if charge["steps"] else ", as it is used"
        amount = amount if charge["steps"] else ""
    return (
        f"<tr><td>{escape(str(charge['description']))}<br>"
        f'<span class="quiet">{escape(str(line["rate_plan_name"]))}</span></td>'
        f'<td>{escape(charged)}</td><td class="n">{escape(quantity)}</td>'
        f'<td class="n">{amount}</td></tr>'
    )


def _money(amount: Decimal, currency: str) -> str:
    return escape(f"{round_half_up(amount, exponent(currency)):,f}")
