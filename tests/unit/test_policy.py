"""What the policy file, the environment and the flags give together, and what they refuse."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from metawsm.domain.errors import PolicyError, Refused
from metawsm.policy import Loaded, Policy, default_text, load, write_default
from metawsm.policy.overrides import settable, variable
from metawsm.policy.reference import reference
from tests.support import sources


def load_text(folder: Path, text: str, env: Mapping[str, str] | None = None) -> Loaded:
    """Load a policy file with this text."""
    path = folder / "policy.json"
    path.write_text(text)
    return load(path, env or {}, {})


def faults(folder: Path, document: object, env: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """The faults of a policy file with this JSON value."""
    with pytest.raises(PolicyError) as caught:
        load_text(folder, json.dumps(document), env)
    return caught.value.fields


def test_defaults_are_those_of_the_contract() -> None:
    """Without a file the policy has the documented defaults."""
    policy = Policy()
    assert policy.version == 2
    assert policy.forum.enabled
    assert policy.forum.topics.command_prefix == "forum.commands"
    assert policy.forum.topics.event_prefix == "forum.events"
    assert policy.forum.topics.integration_prefix == "forum.integration"
    assert policy.forum.redis.url is None
    assert (policy.forum.redis.stream, policy.forum.redis.group) == ("metawsm-forum", "metawsm-forum")
    assert policy.forum.redis.consumer == "operator"
    assert (policy.forum.redis.retention_hours, policy.forum.redis.max_entries) == (72, 1_000_000)
    assert not policy.forum.redis.trusted_publishers
    assert (policy.forum.sla.escalation_minutes, policy.forum.sla.max_escalations) == (30, 3)
    assert policy.forum.limits.outbox == 200_000
    assert policy.auth.loopback == "agent"
    assert policy.operator.llm.mode == "assist"
    assert [(agent.name, agent.profile) for agent in policy.agents] == [("agent", "default-shell")]
    assert policy.agent_profiles[0].runner_options.command == "bash"


def test_default_file_gives_the_default_policy(tmp_path: Path) -> None:
    """The file that policy-init writes is read back as the defaults, without a warning and without a Redis url."""
    loaded = load_text(tmp_path, default_text())
    assert loaded.policy == Policy()
    assert loaded.warnings == ()
    assert "url" not in json.loads(default_text())["forum"]["redis"]


def test_precedence_is_flag_environment_file_default(tmp_path: Path) -> None:
    """Each source wins over the next one, and `sources` says which one did."""
    path = tmp_path / "policy.json"
    redis = {"stream": "file", "group": "file", "consumer": "file"}
    path.write_text(json.dumps({"version": 2, "forum": {"redis": redis}}))
    env = {"METAWSM_FORUM_REDIS_GROUP": "env", "METAWSM_FORUM_REDIS_CONSUMER": "env"}
    loaded = load(path, env, {"forum.redis.consumer": "flag", "forum.redis.url": None})
    found = loaded.policy.forum.redis
    assert (found.stream, found.group, found.consumer, found.url) == ("file", "env", "flag", None)
    assert loaded.sources["forum.redis.stream"] == "file"
    assert loaded.sources["forum.redis.group"] == "METAWSM_FORUM_REDIS_GROUP"
    assert loaded.sources["forum.redis.consumer"] == "the command line"
    assert loaded.sources["forum.redis.url"] == "default"


def test_environment_is_typed(tmp_path: Path) -> None:
    """Variables are read by the type of their setting, and a bad one is named in the error."""
    env = {"METAWSM_FORUM_ENABLED": "off", "METAWSM_FORUM_SLA_ESCALATION_MINUTES": "7"}
    forum = load_text(tmp_path, "{}", env).policy.forum
    assert (forum.enabled, forum.sla.escalation_minutes) == (False, 7)
    bad = faults(tmp_path, {}, {"METAWSM_FORUM_SLA_ESCALATION_MINUTES": "soon"})
    assert bad == {
        "forum.sla.escalation_minutes": [
            "must be a whole number, not 'soon' (from METAWSM_FORUM_SLA_ESCALATION_MINUTES)"
        ]
    }


def test_every_setting_can_come_from_the_environment(tmp_path: Path) -> None:
    """Each variable of the reference reaches its setting."""
    for path, attribute in settable().items():
        text = "true" if attribute.default is True else "" if attribute.default is None else str(attribute.default)
        loaded = load_text(tmp_path, "{}", {variable(path): text.lower() if attribute.default is False else text})
        assert loaded.sources[path] == variable(path)


def test_an_empty_redis_url_is_not_an_unset_one(tmp_path: Path) -> None:
    """Empty means no Redis, unset (or null) means choose one."""
    assert load_text(tmp_path, '{"version": 2, "forum": {"redis": {"url": ""}}}').policy.forum.redis.url == ""
    assert load_text(tmp_path, '{"version": 2, "forum": {"redis": {"url": null}}}').policy.forum.redis.url is None
    assert load_text(tmp_path, "{}", {"METAWSM_FORUM_REDIS_URL": ""}).policy.forum.redis.url == ""


@pytest.mark.parametrize("name", ["METAWSM_OPERATOR_LLM_COMMAND", "METAWSM_AGENTS", "METAWSM_DOCS_API_REPO_ENDPOINTS"])
def test_programs_and_endpoints_come_only_from_the_file(tmp_path: Path, name: str) -> None:
    """The environment cannot choose a program that is run or a server that is asked."""
    loaded = load_text(tmp_path, '{"version": 2}', {name: "evil"})
    assert loaded.policy == Policy()
    if name != "METAWSM_AGENTS":
        assert "only in the policy file" in loaded.warnings[0]


def test_a_misspelt_variable_is_told(tmp_path: Path) -> None:
    """A variable that looks like a setting and is none gives a warning with the near one."""
    loaded = load_text(tmp_path, '{"version": 2}', {"METAWSM_FORUM_REDIS_URI": "x", "METAWSM_SERVER": "y"})
    assert loaded.warnings == (
        "METAWSM_FORUM_REDIS_URI is ignored: no setting has this name; did you mean METAWSM_FORUM_REDIS_URL?",
    )


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    """Unknown keys, wrong types, bad values and bad entries of lists come together, each under its path."""
    found = faults(
        tmp_path,
        {
            "version": 2,
            "forum": {"redis": {"ur": "x"}, "sla": 5, "limits": {"outbox": "9"}},
            "health": {"idle_seconds": True},
            "auth": {"loopback": "opne"},
            "agents": [{"name": "a b", "profile": "p"}, {"nme": "x"}],
            "url": "redis://x",
        },
    )
    assert found["forum.redis.ur"] == ["unknown key; did you mean 'forum.redis.url'?"]
    assert found["forum.sla"] == ["must be an object, not 5"]
    assert found["forum.limits.outbox"] == ["must be a whole number, not '9'"]
    assert found["health.idle_seconds"] == ["must be a whole number, not true"]
    assert found["auth.loopback"] == ["must be agent or open or token, not 'opne'; did you mean 'open'?"]
    assert "letters, digits" in found["agents[0].name"][0]
    assert found["agents[1].nme"] == ["unknown key; did you mean 'agents[1].name'?"]
    assert found["agents[1].profile"] == ["is required"]
    assert found["url"] == ["unknown key; did you mean 'forum.redis.url'?"]


TOPICS = {"command_prefix": "a.b", "event_prefix": "a.b"}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"forum": {"topics": TOPICS}}, "forum.topics.event_prefix"),
        ({"forum": {"topics": {"command_prefix": "a b"}}}, "forum.topics.command_prefix"),
        ({"forum": {"redis": {"stream": "forum.events.x"}}}, "forum.redis.stream"),
        ({"forum": {"redis": {"url": "localhost:6379"}}}, "forum.redis.url"),
        ({"forum": {"redis": {"url": "redis://h:port/0"}}}, "forum.redis.url"),
        ({"forum": {"redis": {"retention_hours": 0}}}, "forum.redis.retention_hours"),
        ({"health": {"activity_stalled_seconds": 10}}, "health.activity_stalled_seconds"),
        ({"workspace": {"base_branch": "a..b"}}, "workspace.base_branch"),
        ({"tmux": {"session_pattern": "{run}-{agent}-{workspace}"}}, "tmux.session_pattern"),
        ({"tmux": {"session_pattern": "x-{workspace}"}}, "tmux.session_pattern"),
        ({"tmux": {"session_pattern": "{agent}"}}, "tmux.session_pattern"),
        ({"agents": [{"name": "a", "profile": "nobody"}]}, "agents[0].profile"),
        ({"agent_profiles": [{"name": "a", "runner": "codex"}]}, "agent_profiles[0].base_prompt"),
        ({"agent_profiles": [{"name": "a", "runner": "shell"}]}, "agent_profiles[0].runner_options.command"),
        ({"docs": {"api": {"repo_endpoints": [{"name": "a", "base_url": "ftp://x", "repo": "r"}]}}},
         "docs.api.repo_endpoints[0].base_url"),
        ({"workspace": {"repo_roots": ["..", "\0"]}}, "workspace.repo_roots[1]"),
        ({"backup": {"folder": "\ud800"}}, "backup.folder"),
        ({"tmux": {"socket": "a\0b"}}, "tmux.socket"),
        ({"agent_profiles": [{"name": "a", "runner": "shell", "runner_options": {"command": "\ud800"}}]},
         "agent_profiles[0].runner_options.command"),
        ({"version": 3}, "version"),
        ({"agents": "agent"}, "agents"),
    ],
)  # fmt: skip
def test_a_bad_value_is_named_by_its_path(tmp_path: Path, document: dict[str, Any], path: str) -> None:
    """Each fault stands under the path of the key that has to be changed."""
    assert path in faults(tmp_path, {"version": 2} | document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "forum": {]\n}', "line 2 column 13"),
        ('{"version": 2, "version": 2}', "'version' stands twice"),
        ('{"version": NaN}', "NaN is not a JSON value"),
        (f'{{"version": {"9" * 5000}}}', "a number has 5000 digits$"),
        ("[]", "one JSON object"),
        ("[" * 50_000, "nested too deeply"),
        (" " * 1_100_000, "larger than 1 MiB"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message says where the text breaks."""
    with pytest.raises(PolicyError, match=message):
        load_text(tmp_path, text)


@pytest.mark.parametrize(
    ("path", "value", "given"),
    [
        ("forum.redis.url", "http://x", "redis://127.0.0.1:1/0"),
        ("forum.sla.escalation_minutes", "x", "5"),
        ("forum.sla.escalation_minutes", 0, "5"),
        ("forum.enabled", "no", "true"),
        ("auth.loopback", "opne", "agent"),
    ],
)
def test_a_bad_value_of_the_file_is_told_although_it_is_overridden(
    tmp_path: Path, path: str, value: object, given: str
) -> None:
    """It would count on the day when nothing overrides it; the variable and the flag are named, not blamed."""
    document: object = value
    for key in reversed(path.split(".")):
        document = {key: document}
    (told,) = faults(tmp_path, document, {variable(path): given})[path]
    assert told.startswith("must ") and told.endswith(f" (in the file; {variable(path)} overrides it)")
    with pytest.raises(PolicyError, match="the command line overrides it"):
        load(tmp_path / "policy.json", {}, {path: given})


def test_settings_that_fit_only_with_the_environment(tmp_path: Path) -> None:
    """What matters of two settings together is what is in force."""
    env = {"METAWSM_HEALTH_ACTIVITY_STALLED_SECONDS": "6000"}
    document = json.dumps({"health": {"idle_seconds": 5000, "activity_stalled_seconds": 900}})
    assert load_text(tmp_path, document, env).policy.health.activity_stalled_seconds == 6000


def test_very_many_unknown_keys(tmp_path: Path) -> None:
    """They take no longer than a start may, and the message stays readable."""
    began = time.monotonic()
    found = faults(tmp_path, {f"key{number}": 1 for number in range(60_000)})
    assert time.monotonic() - began < 2
    assert found["policy"] == ["59980 more unknown keys"] and len(found) == 21


def test_a_policy_that_is_no_file(tmp_path: Path) -> None:
    """A pipe, which would keep the start waiting for ever, is refused."""
    os.mkfifo(tmp_path / "policy.json")
    with pytest.raises(PolicyError, match=r"policy.json cannot be read: it is not a regular file"):
        load(tmp_path / "policy.json", {}, {})


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    """A policy that was asked for and is not there is an error, not the defaults."""
    with pytest.raises(PolicyError, match="No such file"):
        load(tmp_path / "nowhere.json", {}, {})


def test_a_file_of_the_go_program_is_read_with_warnings(tmp_path: Path) -> None:
    """Its unused section and its old version warn; null lists, as Go writes them, are empty ones."""
    document = {
        "version": 1,
        "git_pr": {"mode": "assist", "labels": ["x"]},
        "workspace": {"default_strategy": "fork"},
        "agents": [{"name": "coder", "command": "codex exec"}],
        "docs": {"api": {"repo_endpoints": None}},
    }
    loaded = load_text(tmp_path, json.dumps(document))
    assert [warning.partition(": ")[2][:10] for warning in loaded.warnings] == [
        "git_pr is ",
        "version 1 ",
        "agents wit",
    ]
    assert loaded.policy.workspace.default_strategy == "fork"
    assert loaded.policy.agent_profiles[0].runner_options.command == "codex exec"
    assert loaded.policy.agents[0].profile == "coder"


def test_the_policy_in_the_guide_is_one(tmp_path: Path) -> None:
    """Its example can be copied: it is read, and has an agent of each runner."""
    guide = (sources.ROOT / "docs" / "system-guide.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```json\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    policy = load_text(tmp_path, example).policy
    runners = {profile.name: profile.runner for profile in policy.agent_profiles}
    assert {runners[agent.profile] for agent in policy.agents} == {"codex", "shell"}


def test_write_default_refuses_to_overwrite(tmp_path: Path) -> None:
    """Without force an existing file stays as it is; with force it is replaced whole; nothing else is left behind."""
    path = tmp_path / "deep" / "policy.json"
    write_default(path, force=False)
    path.write_text("mine")
    with pytest.raises(Refused, match="--force"):
        write_default(path, force=False)
    assert path.read_text() == "mine"
    write_default(path, force=True)
    assert path.read_text() == default_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["policy.json"]


def test_the_reference_names_every_setting() -> None:
    """The page in docs is the one that the definitions give."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "policy.md"
    assert page.read_text() == reference()
