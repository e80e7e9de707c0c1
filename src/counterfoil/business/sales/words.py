"""The fixed words of a quote, by language; beside those of invoices."""

ENGLISH: dict[str, str] = {
    "quote": "Quote",
    "version": "{number}, version {version}",
    "draft": "DRAFT",
    "bill_to": "For",
    "date": "Date",
    "valid_until": "Valid until",
    "start": "Service from",
    "term": "Term",
    "months": "{months} months",
    "contract_value": "Contract value over the term",
    "first_invoice": "First invoice of {date}: {amount}",
    "service_period": "Charged",
    "once": "once",
    "estimated": "estimated",
    "as_used": "billed as it is used",
    "in_all": "in all, {cycle}",
    "terms": "Terms",
    "acceptance": "Acceptance",
    "accepting": "This quote is accepted by its link, or by returning it signed, until {date}. "
    "Usage is billed as it comes; what is said of it here is an estimate.",
    "signature": "Place, date, name and signature: ",
    "promise": "Every amount here was computed as the invoice will be, and can explain itself.",
    "day": "per day",
    "week": "per week",
    "month": "per month",
    "year": "per year",
    "days": "every {count} days",
    "weeks": "every {count} weeks",
    "every_months": "every {count} months",
    "years": "every {count} years",
}

GERMAN: dict[str, str] = {
    "quote": "Angebot",
    "version": "{number}, Fassung {version}",
    "draft": "ENTWURF",
    "bill_to": "Für",
    "date": "Datum",
    "valid_until": "Gültig bis",
    "start": "Leistung ab",
    "term": "Laufzeit",
    "months": "{months} Monate",
    "contract_value": "Wert über die Laufzeit",
    "first_invoice": "Erste Rechnung vom {date}: {amount}",
    "service_period": "Berechnet",
    "once": "einmalig",
    "estimated": "geschätzt",
    "as_used": "nach Verbrauch berechnet",
    "in_all": "insgesamt, {cycle}",
    "terms": "Bedingungen",
    "acceptance": "Annahme",
    "accepting": "Dieses Angebot wird über seinen Link oder unterschrieben bis zum {date} "
    "angenommen. Verbrauch wird berechnet, wie er anfällt; was hier davon steht, ist geschätzt.",
    "signature": "Ort, Datum, Name und Unterschrift: ",
    "promise": "Jeder Betrag ist so berechnet, wie es die Rechnung sein wird, und kann sich "
    "erklären.",
    "day": "täglich",
    "week": "wöchentlich",
    "month": "monatlich",
    "year": "jährlich",
    "days": "alle {count} Tage",
    "weeks": "alle {count} Wochen",
    "every_months": "alle {count} Monate",
    "years": "alle {count} Jahre",
}

FRENCH: dict[str, str] = {
    "quote": "Devis",
    "version": "{number}, version {version}",
    "draft": "BROUILLON",
    "bill_to": "Pour",
    "date": "Date",
    "valid_until": "Valable jusqu’au",
    "start": "Service à partir du",
    "term": "Durée",
    "months": "{months} mois",
    "contract_value": "Valeur sur la durée",
    "first_invoice": "Première facture du {date} : {amount}",
    "service_period": "Facturé",
    "once": "une fois",
    "estimated": "estimé",
    "as_used": "facturé selon l’usage",
    "in_all": "en tout, {cycle}",
    "terms": "Conditions",
    "acceptance": "Acceptation",
    "accepting": "Ce devis est accepté par son lien, ou signé et renvoyé, jusqu’au {date}. L’usage "
    "est facturé tel qu’il vient ; ce qui en est dit ici est estimé.",
    "signature": "Lieu, date, nom et signature : ",
    "promise": "Chaque montant est calculé comme le sera la facture, et peut s’expliquer.",
    "day": "par jour",
    "week": "par semaine",
    "month": "par mois",
    "year": "par an",
    "days": "tous les {count} jours",
    "weeks": "toutes les {count} semaines",
    "every_months": "tous les {count} mois",
    "years": "tous les {count} ans",
}

BY_LANGUAGE = {"en": ENGLISH, "de": GERMAN, "fr": FRENCH}


def cycle_told(cycle: str, words: dict[str, str]) -> str:
    """How often something is charged: the word of pricing.cycle_word in the language."""
    if " " not in cycle:
        return words[cycle]
    count, unit = cycle.split(" ")
    return words["every_months" if unit == "months" else unit].format(count=count)
