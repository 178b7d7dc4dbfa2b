"""What a command's `key` function may ask while the command is being accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from metawsm.bus.ports import Db
from metawsm.domain.names import control_thread_id
from metawsm.domain.values import value_class


class ControlThreads(Protocol):
    """The mapping table of control threads."""

    def find(self, db: Db, run_id: str, agent_name: str) -> str | None:
        """The thread id of the pair, or None."""
        ...

    def taken(self, db: Db, thread_id: str) -> bool:
        """Whether another pair, or any thread, has this id."""
        ...

    def claim(self, db: Db, run_id: str, agent_name: str, ticket: str, thread_id: str) -> None:
        """Give the pair its thread id; until the thread is opened, note the newest ticket."""
        ...


@value_class
class Intake:
    """The accepting transaction as a `key` function sees it."""

    db: Db
    controls: ControlThreads
    new_id: Callable[[str], str]

    def control_thread(self, run_id: str, agent_name: str, ticket: str) -> str:
        """The id of the pair's control thread, given now if this is its first signal (contract, section 1)."""
        thread_id = self.controls.find(self.db, run_id, agent_name) or self._free_id(run_id, agent_name)
        self.controls.claim(self.db, run_id, agent_name, ticket, thread_id)
        return thread_id

    def _free_id(self, run_id: str, agent_name: str) -> str:
        attempt = 1
        while self.controls.taken(self.db, thread_id := control_thread_id(run_id, agent_name, attempt)):
            attempt += 1
        return thread_id


def existing_run(intake: Intake, message: Any) -> str:
    """The `key` of every action on an existing run."""
    return str(message.run_id)


def existing_thread(intake: Intake, message: Any) -> str:
    """The `key` of every action on an existing thread."""
    return str(message.thread_id)
