"""All commands by name and wire type. A duplicate stops the start."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from metawsm.bus.specs import CommandSpec
from metawsm.domain.errors import Undecodable


@frozen
class Catalogue:
    """The commands this program handles."""

    specs: tuple[CommandSpec, ...]
    types: dict[str, CommandSpec]

    @staticmethod
    def of(specs: Sequence[CommandSpec]) -> Catalogue:
        """Index the specs. Raises ValueError when two share a name or a route."""
        types = {spec.event_type: spec for spec in specs}
        routes = [spec.path for spec in specs if not spec.internal]
        if len(types) != len(specs) or len(set(routes)) != len(routes):
            raise ValueError("two commands share a name or a route")
        return Catalogue(tuple(specs), types)

    @property
    def public(self) -> tuple[CommandSpec, ...]:
        """Those that others may send."""
        return tuple(spec for spec in self.specs if not spec.internal)

    def named(self, name: str) -> CommandSpec:
        """The command of a name. Raises LookupError."""
        return self.types[f"forum.commands.{name}"]

    def by_event_type(self, event_type: str) -> CommandSpec:
        """The command of a wire type. Raises Undecodable."""
        spec = self.types.get(event_type)
        if spec is None:
            raise Undecodable(f"command type {event_type!r} is not known to this program")
        return spec
