"""The one way from raw records to usage events: a declaration becomes one relational statement.

The statement reads the relation ``raw`` (``line``, ``kept_id`` and the record's texts ``c0`` …;
for JSON ``c0`` is the whole object) and the relations of :mod:`routing`, and yields every record
once: mapped and routed, or with the reason why it was not (``reason`` null: accepted; empty:
skipped by the declaration).
"""

from collections.abc import Sequence

from counterfoil.business.usage.declaration import Declaration, FieldRule, Placeholder, RecordRule
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.duck import sql_literal

KEPT_ID = "#event_id"
"""Key under which a rejected record of a collector without own ids remembers its event id."""

REASONS = (
    "malformed_record",
    "missing_field",
    "unparsable_time",
    "unparsable_quantity",
    "negative_quantity",
    "absurd_quantity",
    "unknown_subscriber",
    "unknown_service",
    "outside_subscription",
    "ambiguous_subscription",
)
"""Why a record is rejected, besides the reasons a declaration's own ``reject`` rules give."""

_NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
_OFFSET = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?\s*([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)$"
_TIME_RANGE = "TIMESTAMP '1970-01-01' AND TIMESTAMP '2199-12-31'"
_LATEST = 7_258_032_000_000_000  # the same last day, in microseconds since 1970
# PostgreSQL could not keep such a number.
_ENDLESS_NUMBER = "[0-9]{1000}|[0-9.][eE][+-]?[0-9]{4}"
# Records nested so deeply could be stored, and then not be read again.
_MOST_BRACKETS = 500
_EPOCH = {"epoch_seconds": 1_000_000, "epoch_milliseconds": 1_000}


def mapping_statement(
    declaration: Declaration, source: str, columns: Sequence[str], *, has_earlier: bool = False
) -> str:
    """The statement for records with these ``columns`` (names of ``c0`` …; unused for JSON).

    ``source`` is the source of events whose declaration names none. ``has_earlier`` joins the
    relation ``earlier_content`` (``content``, ``occurrences``) of earlier chunks of one file.
    Refuses (422) columns that the declaration reads and the file has not.
    """
    compiler = _Compiler(declaration, source, columns)
    return compiler.statement(has_earlier=has_earlier)


class _Compiler:
    def __init__(self, declaration: Declaration, source: str, columns: Sequence[str]) -> None:
        self.declaration = declaration
        self.source = source
        self.columns = tuple(columns)
        self.used = declaration.used_columns()
        if not declaration.json:
            missing = [column for column in self.used if column not in self.columns]
            if missing:
                raise Refused(
                    [
                        Problem(
                            "unknown_column",
                            f"the file has no column {column!r}",
                            "fields",
                            self.columns,
                        )
                        for column in missing
                    ]
                )

    def statement(self, *, has_earlier: bool) -> str:
        steps = [*self._value_steps(), self._text_step(has_earlier=has_earlier)]
        steps += [self._typed_step(), _ROUTED, self._judged_step()]
        hashed = ", content" if self._hashed() else ""
        return f"""WITH {", ".join(steps)}
SELECT line, event_id, source, time, subscription_id, meter_id, quantity, attributes,
       {self._verdict_text("reason")} AS reason, {self._verdict_text("message")} AS message,
       CASE WHEN verdict > 0 THEN {self._record()} END AS record{hashed}
FROM judged ORDER BY line"""

    def _hashed(self) -> bool:
        return self.declaration.fields["event_id"].content_hash

    def _value_steps(self) -> list[str]:
        """``v0`` …: the used columns as trimmed text or null, translated by the value maps."""
        if self.declaration.json:
            paths = ", ".join(sql_literal(_json_path(column)) for column in self.used)
            first = f"""checked AS (
    SELECT *, CASE WHEN json_valid(c0) THEN CASE WHEN json_type(c0) = 'OBJECT' THEN c0 END END
        AS object FROM raw WHERE trim(c0) <> ''),
extracted AS (SELECT *, json_extract_string(object, [{paths}]) AS found FROM checked)"""
            texts = [f"found[{index}]" for index in range(1, len(self.used) + 1)]
            origin = "extracted"
        else:
            filled = " OR ".join(f"c{index} <> ''" for index in range(len(self.columns)))
            first = f"filled AS (SELECT * FROM raw WHERE {filled})"
            texts = [f"c{self.columns.index(column)}" for column in self.used]
            origin = "filled"
        values = [
            f"{self._value(text, column)} AS v{index}"
            for index, (text, column) in enumerate(zip(texts, self.used, strict=True))
        ]
        return [first, f"valued AS (SELECT *, {', '.join(values)} FROM {origin})"]

    def _value(self, text: str, column: str) -> str:
        empty = ", ".join(sql_literal(value) for value in ("", *self.declaration.null_values))
        value = f"CASE WHEN trim({text}) IN ({empty}) THEN NULL ELSE trim({text}) END"
        return _translated(value, self.declaration.value_maps.get(column, {}))

    def _column(self, column: str) -> str:
        return f"v{self.used.index(column)}"

    def _text(self, rule: FieldRule) -> str:
        pieces = []
        for part in rule.parts:
            if isinstance(part, Placeholder):
                choices = [self._column(column) for column in part.columns]
                if part.otherwise is not None:
                    choices.append(sql_literal(part.otherwise))
                pieces.append(f"coalesce({', '.join(choices)})")
            else:
                pieces.append(sql_literal(part))
        return _translated(" || ".join(pieces) or "NULL", rule.mapped)

    def _text_step(self, *, has_earlier: bool) -> str:
        """``texts``: the texts of the event's fields, and the identity of content-hashed rows."""
        fields = self.declaration.fields
        source = self._text(fields["source"]) if "source" in fields else sql_literal(self.source)
        names = ("time", "identifier", "meter")
        texts = [f"{self._text(fields[name])} AS {name}_text" for name in names]
        quantity = "''" if fields["quantity"].seconds_between else self._text(fields["quantity"])
        texts += [f"{source} AS source", f"{quantity} AS quantity_text"]
        if not self._hashed():
            texts.append(f"{self._text(fields['event_id'])} AS event_id")
            return f"texts AS (SELECT *, {', '.join(texts)} FROM valued)"
        columns = ", ".join(f"c{index}" for index in range(max(len(self.columns), 1)))
        earlier = (
            "coalesce((SELECT max(e.occurrences) FROM earlier_content e "
            "WHERE e.content = h.content), 0)"
            if has_earlier
            else "0"
        )
        return f"""hashed AS (
    SELECT *, substr(sha256(concat_ws(chr(31), {columns})), 1, 40) AS content,
           {", ".join(texts)} FROM valued),
texts AS (
    SELECT h.*, coalesce(h.kept_id, h.content || '-' || (
        row_number() OVER (PARTITION BY h.content ORDER BY h.line) + {earlier})) AS event_id
    FROM hashed h)"""

    def _typed_step(self) -> str:
        rule = self.declaration.fields["quantity"]
        if rule.seconds_between:
            start, end = (self._time(self._column(column)) for column in rule.seconds_between)
            micro = f"(epoch_us({end}) - epoch_us({start}))"
            # A product of decimals, because a quotient would be a floating-point number.
            quantity = (
                f"CAST(CAST({micro} AS DECIMAL(22, 0)) * CAST(0.000001 AS DECIMAL(7, 6)) "
                "AS DECIMAL(38, 15))"
            )
        else:
            text = "quantity_text"
            if self.declaration.decimal_mark == ",":
                text = f"replace({text}, ',', '.')"
            quantity = (
                f"CASE WHEN regexp_full_match({text}, {sql_literal(_NUMBER)}) "
                f"THEN try_cast({text} AS DECIMAL(38, 15)) END"
            )
        time = self._time("time_text")
        return f"typed AS (SELECT *, {time} AS time, {quantity} AS quantity FROM texts)"

    def _time(self, text: str) -> str:
        """``text`` as naive UTC; times without an offset stand in the declared zone."""
        formats = self.declaration.time_formats
        if not formats:
            return (
                f"CASE WHEN regexp_matches({text}, {sql_literal(_OFFSET)}) "
                f"THEN {_usable(f'try_cast({text} AS TIMESTAMPTZ)::TIMESTAMP')} "
                f"ELSE {self._zoned(f'try_cast({text} AS TIMESTAMP)')} END"
            )
        tries = []
        for pattern in formats:
            parsed = f"try_strptime({text}, {sql_literal(pattern)})"
            if pattern in _EPOCH:
                number = f"try_cast({text} AS DECIMAL(22, 6))"
                micro = f"CAST({number} * {_EPOCH[pattern]} AS BIGINT)"
                inside = f"{number} BETWEEN 0 AND {_LATEST // _EPOCH[pattern]}"
                tries.append(f"CASE WHEN {inside} THEN make_timestamp({micro}) END")
            elif "%z" in pattern:
                tries.append(_usable(f"{parsed}::TIMESTAMP"))
            else:
                tries.append(self._zoned(parsed))
        return f"coalesce({', '.join(tries)})"

    def _zoned(self, local: str) -> str:
        if self.declaration.time_zone == "UTC":
            return _usable(local)
        zone = sql_literal(self.declaration.time_zone)
        return f"timezone({zone}, {_usable(local)})::TIMESTAMP"

    def _judged_step(self) -> str:
        """``judged``: the first thing wrong with a record decides its verdict."""
        cases = " ".join(
            f"WHEN {condition} THEN {number}"
            for number, (_, condition, _) in enumerate(self._defects(), start=1)
        )
        skipped = " ".join(f"WHEN {self._applies(rule)} THEN 0" for rule in self.declaration.skip)
        return (
            f"judged AS (SELECT *, CASE {skipped} {cases} END AS verdict, "
            f"{self._attributes()} AS attributes FROM routed)"
        )

    def _applies(self, rule: RecordRule) -> str:
        values = ", ".join(sql_literal(value) for value in rule.values) or "''"
        kind = "NOT IN" if rule.negated else "IN"
        return f"coalesce({self._column(rule.column)}, '') {kind} ({values})"

    def _defects(self) -> list[tuple[str, str, str]]:
        """Reason, condition and message (both SQL) of every defect, the decisive one first."""
        defects: list[tuple[str, str, str]] = []
        if self.declaration.json:
            message = sql_literal("the line is not a complete JSON object")
            defects.append(("malformed_record", "object IS NULL", message))
        for rule in self.declaration.reject:
            message = f"{sql_literal(rule.message)}{_shown(self._column(rule.column))}"
            defects.append((rule.reason, self._applies(rule), message))
        texts = [("event_id", "event_id"), ("source", "source")]
        texts += [(n, f"{n}_text") for n in ("time", "identifier", "meter", "quantity")]
        for name, text in texts:
            message = sql_literal(f"the record has no {name}{self._origin(name)}")
            defects.append(("missing_field", f"{text} IS NULL", message))
        return [*defects, *self._quantity_defects(), *_ROUTE_DEFECTS]

    def _quantity_defects(self) -> list[tuple[str, str, str]]:
        declaration = self.declaration
        zone = sql_literal(f" as a time ({declaration.time_zone})")
        rule = declaration.fields["quantity"]
        subject = "'quantity'" + _shown("quantity_text")
        unreadable = f"{subject} || ' is not a number'"
        reason = "unparsable_quantity"
        if rule.seconds_between:
            start, end = (self._column(column) for column in rule.seconds_between)
            subject = f"'quantity'{_shown('quantity::VARCHAR')}"
            reason = "unparsable_time"
            unreadable = f"'cannot read start or end'{_shown(start)}{_shown(end)}"
        defects = [
            ("unparsable_time", "time IS NULL", f"'cannot read'{_shown('time_text')} || {zone}"),
            (reason, "quantity IS NULL", unreadable),
            (
                "negative_quantity",
                "quantity < 0 AND NOT coalesce(takes_back, false)",
                f"{subject} || ' is negative'",
            ),
        ]
        if declaration.minimum_quantity is not None:
            low = declaration.minimum_quantity
            text = sql_literal(f" is below the minimum {low}")
            limit = f"quantity < CAST('{low}' AS DECIMAL(38, 15))"
            defects.append(("absurd_quantity", limit, f"{subject} || {text}"))
        if declaration.maximum_quantity is not None:
            high = declaration.maximum_quantity
            text = sql_literal(f" is above the maximum {high}")
            limit = f"quantity > CAST('{high}' AS DECIMAL(38, 15))"
            defects.append(("absurd_quantity", limit, f"{subject} || {text}"))
        return defects

    def _origin(self, name: str) -> str:
        rule = self.declaration.fields.get(name)
        columns = ", ".join(rule.columns()) if rule else ""
        return f" ({columns})" if columns else ""

    def _verdict_text(self, which: str) -> str:
        """The reason or the message of a verdict; null when accepted."""
        position = 0 if which == "reason" else 2
        cases = []
        for number, defect in enumerate(self._defects(), start=1):
            text = sql_literal(defect[0])
            if position:
                text = f"replace(left({defect[position]}, 1000), chr(0), ' ')"
            cases.append(f"WHEN {number} THEN {text}")
        return f"CASE verdict WHEN 0 THEN '' {' '.join(cases)} END"

    def _attributes(self) -> str:
        if self.declaration.attributes == "none":
            return "CAST(NULL AS VARCHAR)"
        if self.declaration.json:
            return "CAST(object AS VARCHAR)"
        others = [column for column in self.columns if column not in self.used]
        return self._json(others) if others else "CAST(NULL AS VARCHAR)"

    def _record(self) -> str:
        """The raw record as a JSON object of texts, for people to mend."""
        if self.declaration.json:
            text = "CAST(to_json({'text': left(c0, 10000)}) AS VARCHAR)"
            brackets = "length(object) - length(replace(replace(object, '[', ''), '{', ''))"
            readable = (
                f"object IS NOT NULL AND {brackets} < {_MOST_BRACKETS} "
                f"AND NOT regexp_matches(object, '{_ENDLESS_NUMBER}')"
            )
            whole = f"CASE WHEN {readable} THEN CAST(object AS VARCHAR) ELSE {text} END"
        else:
            whole = self._json(list(self.columns))
        if self._hashed():
            kept = f"to_json({{{sql_literal(KEPT_ID)}: event_id}})"
            whole = f"CAST(json_merge_patch({whole}, {kept}) AS VARCHAR)"
        # PostgreSQL keeps no zero character, neither in text nor in jsonb.
        return f"replace({whole}, '\\u0000', '\\ufffd')"

    def _json(self, columns: list[str]) -> str:
        # Not a struct: its field names would have to differ in more than upper and lower case.
        pairs = ", ".join(
            f"{sql_literal(column)}, c{self.columns.index(column)}" for column in columns
        )
        return f"CAST(json_object({pairs}) AS VARCHAR)"


def _usable(time: str) -> str:
    """The time, or null outside the range of usable ones (where time zones may fail)."""
    return f"CASE WHEN {time} BETWEEN {_TIME_RANGE} THEN {time} END"


def _translated(value: str, translations: object) -> str:
    if not isinstance(translations, dict) or not translations:
        return value
    cases = " ".join(
        f"WHEN {sql_literal(old)} THEN {sql_literal(new)}" for old, new in translations.items()
    )
    return f"CASE {value} {cases} ELSE {value} END"


def _json_path(column: str) -> str:
    """``a.b`` as a JSON path; a name that begins with a slash is a JSON pointer already."""
    if column.startswith("/"):
        return column
    return "$" + "".join('."' + part.replace('"', "") + '"' for part in column.split("."))


def _shown(text: str) -> str:
    return f" || ' ''' || left(coalesce({text}, ''), 80) || ''''"


_ROUTED = """routed AS (
    SELECT t.*, i.subscription_id, coalesce(i.meter_id, m.meter_id) AS meter_id, i.subscriptions,
           m.takes_back, n.identifier IS NOT NULL AS knows_identifier,
           m.meter IS NOT NULL AS knows_meter,
           k.first_time, k.last_time, k.first_date, k.last_date, k.time_zone
    FROM typed t
    LEFT JOIN route_interval i ON i.identifier = t.identifier_text AND i.meter = t.meter_text
        AND i.start_time <= t.time AND t.time < i.end_time
    LEFT JOIN route_identifier n ON n.identifier = t.identifier_text
    LEFT JOIN route_meter m ON m.meter = t.meter_text
    LEFT JOIN route_key k ON k.identifier = t.identifier_text AND k.meter = t.meter_text)"""

_WHO = "'no service for'" + _shown("identifier_text")
_ROUTE_DEFECTS = [
    (
        "unknown_subscriber",
        "NOT knows_identifier",
        f"'no subscription has the identifier'{_shown('identifier_text')}",
    ),
    ("unknown_service", "NOT knows_meter", f"'there is no meter'{_shown('meter_text')}"),
    (
        "unknown_service",
        "first_time IS NULL",
        f"'no rate plan of'{_shown('identifier_text')} || ' has the meter'{_shown('meter_text')}",
    ),
    (
        "outside_subscription",
        "subscription_id IS NULL AND time < first_time",
        f"{_WHO} || ': it starts ' || first_date || ' (' || time_zone || ')'",
    ),
    (
        "outside_subscription",
        "subscription_id IS NULL AND time >= last_time",
        f"{_WHO} || ': it ended ' || last_date || ' (' || time_zone || ')'",
    ),
    ("outside_subscription", "subscription_id IS NULL", f"{_WHO} || ' at that time'"),
    (
        "ambiguous_subscription",
        "subscriptions > 1",
        f"subscriptions || ' subscriptions share the identifier'{_shown('identifier_text')}",
    ),
]
