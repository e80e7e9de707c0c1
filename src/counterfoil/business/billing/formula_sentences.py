"""The counterfoil of formulas: what each said, with which values, and what came of it.

Everything was stored beside the amount when it was rated, so it explains itself whatever has become
of the formula, the usage or the accounts since.
"""

from counterfoil.business.billing.number_words import plain
from counterfoil.platform.metadata import Record

_MET = {
    "condition": "The charge's condition",
    "price_condition": "The price's condition",
    "discount_condition": "The discount's condition",
}


def formula_sentences(rated: Record, unit: str) -> list[str]:
    """One sentence for each formula that decided on a rated charge."""
    return [_sentence(entry, rated, unit) for entry in rated["formulas"] or ()]


def _sentence(entry: Record, rated: Record, unit_of_charge: str) -> str:
    told = _on_one_line(entry["told"])
    stands = f"{_on_one_line(entry['formula'])}: {told}"
    if entry["place"] in _MET:
        return f"{_MET[entry['place']]} is met: {stands}."
    if entry["place"] == "discount_percent":
        return f"The percentage is {stands} = {plain(entry['result'])}."
    what, unit = "price", rated["currency"]
    if entry["place"] == "quantity_formula":
        what, unit = "quantity", f"{unit_of_charge}s"
    text = f"The {what} is {stands} = {plain(entry['result'])} {unit}"
    if entry["before"] is not None:
        text += f", of which {plain(entry['before'])} {unit} is the quantity before"
    return f"{text}."


def _on_one_line(text: object) -> str:
    return " ".join(str(text).split())
