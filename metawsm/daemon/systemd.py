"""What systemd wants to hear from a service of `Type=notify`. Source: sd_notify(3), sd_watchdog_enabled(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from attrs import frozen


@frozen
class Notifier:
    """Sends states to the socket that systemd named; does nothing without one."""

    address: str | None
    watchdog_seconds: float | None

    @staticmethod
    def of(environ: Mapping[str, str]) -> Notifier:
        """Read NOTIFY_SOCKET and WATCHDOG_USEC, unless the watchdog is meant for another process."""
        address = environ.get("NOTIFY_SOCKET") or None
        period = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        seconds = int(period) / 1_000_000 if period.isdigit() and int(period) > 0 and mine else None
        return Notifier(address, seconds)

    def ready(self, status: str) -> None:
        """The service answers."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def stopping(self) -> None:
        """The service is about to end."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def alive(self) -> None:
        """The watchdog's sign of life."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(text.encode(), address)
        except OSError:
            return  # whoever asked is gone; there is nobody to tell
