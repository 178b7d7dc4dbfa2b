"""Immutable values that are made for every request."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["value_class"]

if TYPE_CHECKING:
    from attrs import frozen as value_class
else:
    import attrs

    def value_class(cls: type) -> type:
        """`attrs.frozen`, kept by the type checker and not at run time: equal and hashable by its fields, with slots.

        A frozen class of attrs sets each field through `object.__setattr__`, which makes an instance cost four times
        as much; a question makes some thirty of them (docs/decisions/0006-speed.md).
        """
        return attrs.define(cls, unsafe_hash=True)
