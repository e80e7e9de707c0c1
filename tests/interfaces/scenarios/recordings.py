"""What scenarios were rated from and what came of it, kept so that Spark can be asked the same.

Whoever plays a scenario first leaves a recording, and others wait for it: playing all of them
takes longer than everything that is done with the recordings.
"""

import pickle
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from counterfoil.bootstrap import Organisation, Settings, scratch_organisation
from counterfoil.business.billing.buckets import BucketResult, BucketWork
from counterfoil.interfaces.scenarios.notation import read_scenario
from counterfoil.interfaces.scenarios.play import Outcome, SimulatedClock, play_scenario
from counterfoil.platform.engine.runner import InThisProcess

SECONDS_TO_PLAY = 240
BETWEEN_LOOKS = threading.Event()

Rated = tuple[BucketWork, BucketResult]


@dataclass
class Recorder(InThisProcess):
    """Rates bucket by bucket in this process and remembers what."""

    splits = True
    rated: list[Rated] = field(default_factory=list)

    def run(self, kernel: Callable[[Any], Any], works: Mapping[Any, Any]) -> Iterator[Any]:
        for key, result in super().run(kernel, works):
            self.rated.append((works[key], result))
            yield key, result


@dataclass(frozen=True)
class Recordings:
    """A folder of recordings, which several processes fill."""

    folder: Path

    def play(
        self,
        path: Path,
        server: Settings,
        afterwards: Callable[[Organisation], None] | None = None,
    ) -> Outcome:
        """Play a scenario file; the first to do so leaves a recording. ``afterwards`` looks at what
        it has come to."""
        scenario, problems = read_scenario(path)
        assert problems == []
        clock = SimulatedClock()
        with (
            self._recording(path.stem) as keep,
            scratch_organisation(server, clock) as organisation,
        ):
            recorder = Recorder()
            outcome = play_scenario(scenario, replace(organisation, runner=recorder), clock)
            keep(organisation, recorder.rated)
            if afterwards is not None:
                afterwards(organisation)
        return outcome

    def of(self, path: Path, server: Settings) -> list[Rated]:
        """The recording of a scenario file, which is played if nobody has begun to."""
        if not self._claim(path.stem).exists():
            self.play(path, server)
        recording = self.folder / path.stem / "rated"
        for _ in range(SECONDS_TO_PLAY * 10):
            if recording.exists():
                return pickle.loads(recording.read_bytes())
            BETWEEN_LOOKS.wait(0.1)
        raise TimeoutError(path.stem)

    def _claim(self, name: str) -> Path:
        return self.folder / f"{name}.played"

    @contextmanager
    def _recording(self, name: str) -> Iterator[Callable[[Organisation, list[Rated]], None]]:
        try:
            self._claim(name).touch(exist_ok=False)
        except FileExistsError:
            yield lambda *_: None
            return
        kept: list[Rated] = []

        def keep(organisation: Organisation, rated: list[Rated]) -> None:
            """The works with their usage files, of which nothing is left at the end."""
            source, copy = organisation.usage_store.folder, self.folder / name / "usage"
            shutil.copytree(source, copy)
            kept.extend(
                (replace(work, usage=work.usage and work.usage.replace(str(source), str(copy))), r)
                for work, r in rated
            )

        try:
            yield keep
        finally:
            written = self.folder / name / "writing"
            written.parent.mkdir(exist_ok=True)
            written.write_bytes(pickle.dumps(kept))
            written.rename(written.with_name("rated"))
