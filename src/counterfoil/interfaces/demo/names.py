"""Invented names of companies and people for the demo: nobody real is meant."""

from random import Random

_STEMS = (
    "Alder", "Amber", "Arden", "Ashen", "Birch", "Bram", "Brindle", "Cald", "Cinder", "Corvan",
    "Dar", "Drum", "Elder", "Ember", "Esk", "Fal", "Fenn", "Gar", "Glim", "Halder", "Hart",
    "Ister", "Jor", "Kel", "Kestr", "Lang", "Lark", "Lind", "Mar", "Mirren", "Nar", "Nord", "Oster",
    "Pell", "Quill", "Rav", "Rowan", "Sel", "Silver", "Tarn", "Thorn", "Ulver", "Vann", "Vesper",
    "Wend", "Wyn", "Yar", "Zell",
)  # fmt: skip
_ENDINGS = (
    "acre", "bourne", "brook", "croft", "dale", "fell", "field", "gate", "hollow", "holm", "lock",
    "mere", "moor", "quay", "reach", "ridge", "shaw", "stead", "strand", "wick",
)  # fmt: skip
_TRADES = (
    "Aerospace", "Analytics", "Biologics", "Capital Partners", "Ceramics", "Chemicals",
    "Diagnostics", "Energy", "Engineering", "Foods", "Freight", "Glass", "Health", "Hotels",
    "Instruments", "Insurance", "Legal", "Logistics", "Marine", "Materials", "Media", "Minerals",
    "Motors", "Optics", "Packaging", "Paper", "Pharma", "Polymers", "Publishing", "Rail",
    "Research", "Robotics", "Semiconductors", "Shipping", "Software", "Steel", "Surveying",
    "Textiles", "Timber", "Turbines", "University", "Water",
)  # fmt: skip
_LEGAL_FORMS = {
    "US": ("Inc.", "LLC", "Corp."), "CA": ("Inc.", "Ltd."), "GB": ("Ltd", "plc"), "IE": ("Ltd",),
    "DE": ("GmbH", "AG"), "AT": ("GmbH",), "CH": ("AG", "SA"), "FR": ("SAS", "SA"), "BE": ("SA",),
    "ES": ("S.L.",), "IT": ("S.p.A.",), "NL": ("B.V.",), "SE": ("AB",), "NO": ("AS",),
    "JP": ("K.K.",), "SG": ("Pte. Ltd.",), "IN": ("Pvt. Ltd.",), "AU": ("Pty Ltd",),
    "BR": ("Ltda.",), "MX": ("S.A. de C.V.",), "ZA": ("Pty Ltd",), "KW": ("W.L.L.",),
    "AE": ("FZ-LLC",),
}  # fmt: skip
_FIRST_NAMES = (
    "Adaeze", "Aiko", "Alice", "Amira", "Anders", "Anita", "Beatriz", "Bogdan", "Carlos", "Chloé",
    "Daniel", "Dilnoza", "Elena", "Emeka", "Fatima", "Finn", "Grace", "Hana", "Hassan", "Ines",
    "Ivan", "Jakub", "Jia", "João", "Kavya", "Keiko", "Lars", "Leila", "Liam", "Lucía", "Malik",
    "Maren", "Mateo", "Mei", "Milan", "Naledi", "Nils", "Noor", "Olga", "Omar", "Paolo", "Petra",
    "Priya", "Quentin", "Rafael", "Rosa", "Sanjay", "Sofia", "Tariq", "Thandi", "Tomas", "Uma",
    "Viktor", "Wei", "Yara", "Yusuf", "Zofia",
)  # fmt: skip
_LAST_NAMES = (
    "Abara", "Almeida", "Andersson", "Baptiste", "Becker", "Bianchi", "Castellanos", "Chen",
    "Dahl", "Demir", "Dlamini", "Eriksen", "Fernando", "Fischer", "Fontaine", "Garrido", "Haddad",
    "Hoffmann", "Ibrahim", "Iyer", "Jansen", "Johansen", "Kapoor", "Kowalczyk", "Laurent", "Lim",
    "Lindqvist", "Mahlangu", "Marchetti", "Moreau", "Müller", "Nakamura", "Novák", "O'Connor",
    "Okafor", "Ortega", "Park", "Pereira", "Petrov", "Quispe", "Rahman", "Ricci", "Rossi", "Sato",
    "Schneider", "Silva", "Suzuki", "Tanaka", "Thompson", "Van Dijk", "Vargas", "Wanjiru", "Weber",
    "Yamada", "Zhang",
)  # fmt: skip
_STREETS = (
    "Bridge Street", "Canal Road", "Castle Street", "Church Lane", "Commerce Avenue", "Dock Road",
    "Exchange Square", "Garden Street", "Harbour Street", "High Street", "Industrial Way",
    "King Street", "Lake View", "Liberty Avenue", "Main Street", "Market Square", "Mill Lane",
    "Museum Street", "Orchard Road", "Park Avenue", "Port Boulevard", "Quayside", "River Road",
    "Station Road", "Tower Street", "University Avenue", "Victoria Road", "West Gate",
)  # fmt: skip


def company_names(rng: Random, count: int) -> list[str]:
    """``count`` different company names without legal form, ``Caldmere Optics``."""
    houses = [stem + ending for stem in _STEMS for ending in _ENDINGS]
    rng.shuffle(houses)
    return [
        f"{houses[index % len(houses)]} {rng.choice(_TRADES)}"
        + (f" {index // len(houses) + 1}" if index >= len(houses) else "")
        for index in range(count)
    ]


def legal_form(rng: Random, country: str) -> str:
    """A legal form usual in that country."""
    return rng.choice(_LEGAL_FORMS.get(country, ("Ltd.", "S.A.")))


def person_name(rng: Random) -> str:
    """First and last name of an invented person."""
    return f"{rng.choice(_FIRST_NAMES)} {rng.choice(_LAST_NAMES)}"


def street_address(rng: Random) -> str:
    """Number and street."""
    return f"{rng.randint(1, 240)} {rng.choice(_STREETS)}"
