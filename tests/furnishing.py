"""Organisations that are furnished once; every test that asks gets a copy of its own.

To copy a database takes a tenth of what it takes to load prices, sell and bill again.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from counterfoil.bootstrap import Organisation, Settings, scratch_organisation

Furnish = Callable[[Organisation], object]


@dataclass
class Furnishings:
    """The organisations that have been furnished, by what has furnished them."""

    settings: Settings
    _models: dict[Furnish, Organisation] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack)

    @contextmanager
    def copy(self, furnish: Furnish) -> Iterator[Organisation]:
        """An organisation as ``furnish`` makes it of an empty one."""
        if furnish not in self._models:
            model = self._open.enter_context(scratch_organisation(self.settings))
            furnish(model)
            # What somebody is connected to is not copied.
            model.database.close()
            self._models[furnish] = model
        with scratch_organisation(self.settings, like=self._models[furnish]) as organisation:
            yield organisation

    def close(self) -> None:
        self._open.close()
