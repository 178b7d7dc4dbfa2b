"""An agent's token says who the agent is, and nobody but the daemon can make one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metawsm.domain.agent_token import Agent, agent_of, agent_token
from metawsm.domain.names import NAME_PATTERN

KEY = "daemon-token"
NAMES = st.from_regex(NAME_PATTERN, fullmatch=True)
BOB = agent_token(KEY, "run-1", "bob")


@given(NAMES, NAMES)
def test_a_token_names_its_agent(run_id: str, agent_name: str) -> None:
    """Whatever run and agent are called, dots and dashes included, the token tells both apart; it fits a header."""
    token = agent_token(KEY, run_id, agent_name)
    assert agent_of(KEY, token) == Agent(run_id, agent_name)
    assert token == agent_token(KEY, run_id, agent_name)
    assert token.isascii() and token.isprintable() and " " not in token


def test_names_do_not_run_into_each_other() -> None:
    """Two pairs whose names are the same when put together have two tokens."""
    assert agent_token(KEY, "a.b", "c") != agent_token(KEY, "a", "b.c")


@pytest.mark.parametrize(
    "given",
    [
        "", "~", "mwa", "mwa~run-1~bob", "mwa~run-1~bob~", f"{BOB}0", BOB[:-1], BOB.upper(), f" {BOB}", f"{BOB}~",
        BOB.replace("bob", "ann"), BOB.replace("run-1", "run-2"), BOB.replace("mwa", "mwb"), BOB.replace("~", "."),
        BOB.replace("run-1~bob", "run-1~x~bob"), "mwa~run-1~bob~" + "0" * 64, "mwa~run-1~bob~\u00e4",
        agent_token("another daemon's", "run-1", "bob"), KEY,
    ],
)  # fmt: skip
def test_what_is_no_agents_token(given: str) -> None:
    """A changed name, a changed or missing code, another daemon's token: nobody."""
    assert agent_of(KEY, given) is None


@pytest.mark.parametrize("name", ["", "a~b", "a b", "-a", "a/b", "ä", "x" * 65])
def test_a_name_that_is_none_gets_no_token(name: str) -> None:
    """A name outside the grammar could hide another's token in itself."""
    with pytest.raises(ValueError, match="letters"):
        agent_token(KEY, name, "bob")
    with pytest.raises(ValueError, match="letters"):
        agent_token(KEY, "run-1", name)
