"""The demo's usage files: the same bytes from the same seed, and the defects that were promised."""

import csv
import hashlib
import json
from collections import Counter
from datetime import date
from pathlib import Path

from counterfoil.interfaces.demo.organisation import build_organisation
from counterfoil.interfaces.demo.usage_files import (
    BRIDGE,
    DEFECTS,
    PLATFORM,
    UsageFile,
    write_usage_files,
)

OCTOBER = date(2026, 10, 1)


def written(folder: Path, seed: int) -> list[UsageFile]:
    return write_usage_files(build_organisation(40, seed), OCTOBER, seed, folder)[0]


def digests(files: list[UsageFile]) -> dict[str, str]:
    return {file.path.name: hashlib.sha256(file.path.read_bytes()).hexdigest() for file in files}


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a", 5), written(tmp_path / "b", 5)
    assert digests(first) == digests(second)
    assert len(first) == 10
    assert digests(written(tmp_path / "c", 6)) != digests(first)


def test_the_planted_defects_stand_in_the_files(tmp_path: Path) -> None:
    files, planted = write_usage_files(build_organisation(40, 5), OCTOBER, 5, tmp_path)
    bridge, platform = [], []
    for file in files:
        text = file.path.read_text(encoding="utf-8")
        if file.collector == BRIDGE:
            bridge += list(csv.DictReader(text.splitlines()))
        else:
            platform += [json.loads(line) for line in text.splitlines()]
    assert planted[BRIDGE].records == len(bridge)
    assert planted[PLATFORM].records == len(platform)
    assert sum(file.records for file in files) == len(bridge) + len(platform)
    found = {
        "duplicate": len(bridge) - len({row["record_id"] for row in bridge}),
        "unknown_subscriber": sum(row["account_code"].startswith("99") for row in bridge),
        "negative_duration": sum(int(row["duration_s"]) < 0 for row in bridge),
        "absurd_duration": sum(int(row["duration_s"]) > 86400 for row in bridge),
        "unparsable_time": sum("I" in row["start_local"] for row in bridge),
        "unknown_service": sum(row["service"] == "VRX" for row in bridge),
        "late_arrival": sum(row["start_local"].startswith("2026-09") for row in bridge),
    }
    assert found == planted[BRIDGE].defects
    assert tuple(found) == DEFECTS
    found_ids = Counter(event["eventId"] for event in platform)
    assert sum(found_ids.values()) - len(found_ids) == planted[PLATFORM].defects["duplicate"]
    late = sum(event["leg"]["joined"].startswith("2026-09") for event in platform)
    assert late == planted[PLATFORM].defects["late_arrival"]


def test_half_a_percent_of_the_records_are_defective(tmp_path: Path) -> None:
    _, planted = write_usage_files(build_organisation(1000, 1), OCTOBER, 1, tmp_path)
    records = sum(part.records for part in planted.values())
    defects = sum(sum(part.defects.values()) for part in planted.values())
    assert 165_000 <= records <= 175_000
    assert 49 <= defects * 10_000 // records <= 50
    assert 0 < planted[BRIDGE].duplicates_across_files < planted[BRIDGE].defects["duplicate"]
