"""Requests that wait for their command."""

from __future__ import annotations

import gc
import time
import weakref
from contextlib import suppress
from functools import partial

import gevent
import pytest

from metawsm.bus.dispatch import Outcome
from metawsm.daemon.waiting import QUEUED, Ticket, Waiting
from metawsm.domain.errors import KeyReused


def test_a_wait_that_ends_knows_that_the_command_was_applied() -> None:
    """Handled and not yet in the read models: the time is over, and the status is the true one."""
    waiting = Waiting()
    handled, unhandled = (Ticket(name, time.monotonic() + 0.05) for name in ("fcmd-1", "fcmd-2"))
    for ticket in (handled, unhandled):
        waiting.follow(ticket)
    waiting.settle("fcmd-1", Outcome("applied", 201, {}, last_sequence=7))
    answers = [ticket.wait() for ticket in (handled, unhandled)]
    assert answers == [QUEUED, QUEUED]
    assert [handled.status, unhandled.status] == ["applied", "queued"]


def test_who_waits_is_answered_once_the_read_models_have_it() -> None:
    """Not when the command is handled, but when its last event has been applied."""
    waiting = Waiting()
    ticket = Ticket("fcmd-1", time.monotonic() + 5)
    waiting.follow(ticket)
    outcome = Outcome("applied", 201, {}, last_sequence=7)
    waiting.settle("fcmd-1", outcome)
    answer = gevent.spawn(ticket.wait)
    waiting.projected_to(6)
    gevent.sleep(0.01)
    assert not answer.ready()
    waiting.projected_to(7)
    assert answer.get() is outcome


@pytest.mark.parametrize("early", [True, False], ids=["told before it waits", "told while it waits"])
def test_an_error_does_not_outlive_its_request(early: bool) -> None:
    """What was refused goes with all that its frames hold, without the collector's help."""
    refused, ticket = KeyReused("used before"), Ticket("fcmd-1", time.monotonic() + 5)
    gone = weakref.ref(refused)
    tell = partial(ticket.tell, refused)
    gevent.get_hub().loop.run_callback(tell)
    if early:
        gevent.sleep(0.01)
    gc.disable()
    try:
        with suppress(KeyReused):
            ticket.wait()
        del refused, tell
        gevent.sleep(0)
        assert gone() is None
    finally:
        gc.enable()
