"""An imported database on the Redis that the Go program has used: the commands that it left there are not done."""

from __future__ import annotations

import logging
from collections.abc import Callable

from metawsm.bus.ports import Delivery

log = logging.getLogger("metawsm.imported")
Handle = Callable[[Delivery], None]


class PassedOver:
    """Acks commands from before the import and hands all others to `deliver`.

    `imported_ms` is when the import ended, in milliseconds since 1970, as entry ids count them by the clock of Redis; 0
    when there was none. A command of ours says so, and is never passed over.
    """

    def __init__(self, imported_ms: int, deliver: Handle, ack: Handle) -> None:
        self._imported_ms = imported_ms
        self._deliver = deliver
        self._ack = ack
        self._told: set[str] = set()

    def deliver(self, delivery: Delivery) -> None:
        """Take an entry from a command stream."""
        if not self._is_old(delivery):
            self._deliver(delivery)
            return
        if delivery.topic not in self._told:
            self._told.add(delivery.topic)
            log.warning("%s holds commands from before the import, they are passed over", delivery.topic)
        self._ack(delivery)

    def _is_old(self, delivery: Delivery) -> bool:
        if int(delivery.entry_id.partition("-")[0]) > self._imported_ms:
            return False
        return delivery.message is None or "origin" not in delivery.message.metadata
