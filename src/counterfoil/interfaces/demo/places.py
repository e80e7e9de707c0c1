"""The cities of the demo's customers: real places, their time zones, an invoicing currency.

P-codes are numbered by ourselves (9, state, place, 0): the real tables are not free.
"""

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Place:
    """A city: ISO country, region and postal code where usual, IANA zone, ISO 4217 currency."""

    country: str
    city: str
    time_zone: str
    currency: str
    region: str | None = None
    postal_code: str | None = None
    p_code: str | None = None


# state, city, postal code, zone, P-code
_UNITED_STATES = """
NY|New York|10005|America/New_York|9360610
MA|Boston|02110|America/New_York|9250070
NJ|Newark|07102|America/New_York|9340510
PA|Philadelphia|19103|America/New_York|9420600
DC|Washington|20005|America/New_York|9110010
GA|Atlanta|30303|America/New_York|9130040
FL|Miami|33131|America/New_York|9120450
NC|Charlotte|28202|America/New_York|9370120
OH|Columbus|43215|America/New_York|9390180
MI|Detroit|48226|America/Detroit|9260220
IN|Indianapolis|46204|America/Indiana/Indianapolis|9180360
IL|Chicago|60606|America/Chicago|9170140
MN|Minneapolis|55402|America/Chicago|9270430
TN|Nashville|37219|America/Chicago|9470520
TX|Dallas|75201|America/Chicago|9480190
TX|Houston|77002|America/Chicago|9480350
TX|Austin|78701|America/Chicago|9480050
CO|Denver|80202|America/Denver|9080200
UT|Salt Lake City|84101|America/Denver|9490670
AZ|Phoenix|85004|America/Phoenix|9040550
CA|San Francisco|94105|America/Los_Angeles|9060670
CA|Los Angeles|90017|America/Los_Angeles|9060440
CA|San Diego|92101|America/Los_Angeles|9060660
WA|Seattle|98101|America/Los_Angeles|9530630
OR|Portland|97204|America/Los_Angeles|9410590
HI|Honolulu|96813|Pacific/Honolulu|9150170
AK|Anchorage|99501|America/Anchorage|9020030
"""

# country, invoicing currency, zone, cities
_WORLD = """
AD|EUR|Europe/Andorra|Andorra la Vella
AE|USD|Asia/Dubai|Dubai;Abu Dhabi
AL|EUR|Europe/Tirane|Tirana
AM|USD|Asia/Yerevan|Yerevan
AO|USD|Africa/Luanda|Luanda
AR|USD|America/Argentina/Buenos_Aires|Buenos Aires
AT|EUR|Europe/Vienna|Vienna;Graz
AU|AUD|Australia/Sydney|Sydney
AU|AUD|Australia/Melbourne|Melbourne
AU|AUD|Australia/Perth|Perth
AZ|USD|Asia/Baku|Baku
BA|EUR|Europe/Sarajevo|Sarajevo
BB|USD|America/Barbados|Bridgetown
BD|USD|Asia/Dhaka|Dhaka
BE|EUR|Europe/Brussels|Brussels;Antwerp
BG|EUR|Europe/Sofia|Sofia
BH|USD|Asia/Bahrain|Manama
BJ|EUR|Africa/Porto-Novo|Cotonou
BM|USD|Atlantic/Bermuda|Hamilton
BN|SGD|Asia/Brunei|Bandar Seri Begawan
BO|USD|America/La_Paz|La Paz
BR|BRL|America/Sao_Paulo|São Paulo;Rio de Janeiro
BR|BRL|America/Manaus|Manaus
BS|USD|America/Nassau|Nassau
BW|USD|Africa/Gaborone|Gaborone
CA|CAD|America/Toronto|Toronto;Ottawa
CA|CAD|America/Vancouver|Vancouver
CA|CAD|America/Edmonton|Calgary
CA|CAD|America/Halifax|Halifax
CH|CHF|Europe/Zurich|Zürich;Geneva;Basel
CI|EUR|Africa/Abidjan|Abidjan
CL|USD|America/Santiago|Santiago
CM|EUR|Africa/Douala|Douala
CN|USD|Asia/Shanghai|Shanghai;Beijing;Shenzhen
CO|USD|America/Bogota|Bogotá
CR|USD|America/Costa_Rica|San José
CV|EUR|Atlantic/Cape_Verde|Praia
CY|EUR|Asia/Nicosia|Nicosia
CZ|EUR|Europe/Prague|Prague;Brno
DE|EUR|Europe/Berlin|Berlin;Hamburg;Munich;Frankfurt am Main
DK|EUR|Europe/Copenhagen|Copenhagen
DO|USD|America/Santo_Domingo|Santo Domingo
DZ|EUR|Africa/Algiers|Algiers
EC|USD|America/Guayaquil|Guayaquil
EE|EUR|Europe/Tallinn|Tallinn
EG|USD|Africa/Cairo|Cairo
ES|EUR|Europe/Madrid|Madrid;Barcelona
ET|USD|Africa/Addis_Ababa|Addis Ababa
FI|EUR|Europe/Helsinki|Helsinki
FJ|AUD|Pacific/Fiji|Suva
FR|EUR|Europe/Paris|Paris;Lyon;Toulouse
GA|EUR|Africa/Libreville|Libreville
GB|GBP|Europe/London|London;Manchester;Edinburgh
GE|USD|Asia/Tbilisi|Tbilisi
GH|USD|Africa/Accra|Accra
GR|EUR|Europe/Athens|Athens
GT|USD|America/Guatemala|Guatemala City
HK|USD|Asia/Hong_Kong|Hong Kong
HN|USD|America/Tegucigalpa|Tegucigalpa
HR|EUR|Europe/Zagreb|Zagreb
HU|EUR|Europe/Budapest|Budapest
ID|USD|Asia/Jakarta|Jakarta
IE|EUR|Europe/Dublin|Dublin;Cork
IL|USD|Asia/Jerusalem|Tel Aviv
IN|INR|Asia/Kolkata|Mumbai;Bengaluru;New Delhi
IS|EUR|Atlantic/Reykjavik|Reykjavík
IT|EUR|Europe/Rome|Rome;Milan
JM|USD|America/Jamaica|Kingston
JO|USD|Asia/Amman|Amman
JP|JPY|Asia/Tokyo|Tokyo;Osaka;Nagoya
KE|USD|Africa/Nairobi|Nairobi
KH|USD|Asia/Phnom_Penh|Phnom Penh
KR|USD|Asia/Seoul|Seoul;Busan
KW|KWD|Asia/Kuwait|Kuwait City
KY|USD|America/Cayman|George Town
KZ|USD|Asia/Almaty|Almaty
LB|USD|Asia/Beirut|Beirut
LI|CHF|Europe/Vaduz|Vaduz
LK|USD|Asia/Colombo|Colombo
LT|EUR|Europe/Vilnius|Vilnius
LU|EUR|Europe/Luxembourg|Luxembourg
LV|EUR|Europe/Riga|Riga
MA|EUR|Africa/Casablanca|Casablanca
MC|EUR|Europe/Monaco|Monaco
MD|EUR|Europe/Chisinau|Chișinău
ME|EUR|Europe/Podgorica|Podgorica
MG|EUR|Indian/Antananarivo|Antananarivo
MK|EUR|Europe/Skopje|Skopje
MN|USD|Asia/Ulaanbaatar|Ulaanbaatar
MT|EUR|Europe/Malta|Valletta
MU|USD|Indian/Mauritius|Port Louis
MV|USD|Indian/Maldives|Malé
MX|USD|America/Mexico_City|Mexico City
MX|USD|America/Monterrey|Monterrey
MY|SGD|Asia/Kuala_Lumpur|Kuala Lumpur
MZ|USD|Africa/Maputo|Maputo
NA|USD|Africa/Windhoek|Windhoek
NG|USD|Africa/Lagos|Lagos
NI|USD|America/Managua|Managua
NL|EUR|Europe/Amsterdam|Amsterdam;Rotterdam
NO|EUR|Europe/Oslo|Oslo;Bergen
NP|USD|Asia/Kathmandu|Kathmandu
NZ|AUD|Pacific/Auckland|Auckland;Wellington
OM|USD|Asia/Muscat|Muscat
PA|USD|America/Panama|Panama City
PE|USD|America/Lima|Lima
PH|USD|Asia/Manila|Manila
PK|USD|Asia/Karachi|Karachi
PL|EUR|Europe/Warsaw|Warsaw;Kraków
PR|USD|America/Puerto_Rico|San Juan
PT|EUR|Europe/Lisbon|Lisbon;Porto
PY|USD|America/Asuncion|Asunción
QA|USD|Asia/Qatar|Doha
RO|EUR|Europe/Bucharest|Bucharest
RS|EUR|Europe/Belgrade|Belgrade
RW|USD|Africa/Kigali|Kigali
SA|USD|Asia/Riyadh|Riyadh
SE|SEK|Europe/Stockholm|Stockholm;Gothenburg
SG|SGD|Asia/Singapore|Singapore
SI|EUR|Europe/Ljubljana|Ljubljana
SK|EUR|Europe/Bratislava|Bratislava
SN|EUR|Africa/Dakar|Dakar
SV|USD|America/El_Salvador|San Salvador
TH|USD|Asia/Bangkok|Bangkok
TN|EUR|Africa/Tunis|Tunis
TR|EUR|Europe/Istanbul|Istanbul;Ankara
TT|USD|America/Port_of_Spain|Port of Spain
TW|USD|Asia/Taipei|Taipei
TZ|USD|Africa/Dar_es_Salaam|Dar es Salaam
UA|EUR|Europe/Kyiv|Kyiv
UG|USD|Africa/Kampala|Kampala
UY|USD|America/Montevideo|Montevideo
UZ|USD|Asia/Tashkent|Tashkent
VN|USD|Asia/Ho_Chi_Minh|Ho Chi Minh City
ZA|USD|Africa/Johannesburg|Johannesburg;Cape Town
ZM|USD|Africa/Lusaka|Lusaka
"""


def _united_states() -> list[Place]:
    places: list[Place] = []
    for row in _UNITED_STATES.split("\n"):
        if row:
            region, city, postal_code, zone, p_code = row.split("|")
            places.append(Place("US", city, zone, "USD", region, postal_code, p_code))
    return places


def _world() -> list[Place]:
    places: list[Place] = []
    for row in _WORLD.split("\n"):
        if row:
            country, currency, zone, cities = row.split("|")
            places.extend(Place(country, city, zone, currency) for city in cities.split(";"))
    return places


@cache
def places_by_country() -> dict[str, list[Place]]:
    """Every place of the demo under its country; the United States first."""
    found: dict[str, list[Place]] = {}
    for place in (*_united_states(), *_world()):
        found.setdefault(place.country, []).append(place)
    return found


HOME_WEIGHTS = {
    "US": 340, "GB": 70, "DE": 60, "FR": 45, "CA": 40, "JP": 35, "CH": 30, "AU": 25, "NL": 20,
    "IN": 20, "SG": 18, "BR": 15, "SE": 15, "ES": 15, "IT": 15, "IE": 10, "KW": 10, "MX": 10,
    "HK": 10, "AE": 10, "BE": 8, "AT": 8, "ZA": 6, "KR": 6, "NO": 5,
}  # fmt: skip
"""How often (relative weights) a customer is at home in a country."""

CURRENCIES = (
    "USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "SGD", "INR", "BRL", "SEK", "KWD",
)  # fmt: skip
"""The currencies the demo company invoices in; JPY has no decimals, KWD three."""
