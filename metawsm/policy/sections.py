"""The policy itself: one frozen class per section, with the default and the meaning of every setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from attrs import field, frozen

from metawsm.policy import knobs
from metawsm.policy.knobs import between, knob, required

Faults = dict[str, list[str]]
"""What is wrong, by the path of the setting relative to the section that was asked."""

SECONDS = between(1, 31_536_000)
UNUSED = "Checked, but nothing uses it yet."
"""For keys of the Go program, and of features to come: a policy that has them is right, and they do nothing."""


@frozen
class Topics:
    """Prefixes of the topics, which are the keys of the streams in Redis."""

    command_prefix: str = knob("forum.commands", "Prefix of the topics of commands.", check=knobs.topic)
    event_prefix: str = knob("forum.events", "Prefix of the topics of events.", check=knobs.topic)
    integration_prefix: str = knob("forum.integration", "Prefix of the integration topics.", check=knobs.topic)

    def faults(self) -> Faults:
        """Two equal prefixes would mix two kinds of messages in one stream."""
        seen: dict[str, str] = {}
        faults: Faults = {}
        for key in ("command_prefix", "event_prefix", "integration_prefix"):
            other = seen.setdefault(getattr(self, key), key)
            if other != key:
                faults[key] = [f"must differ from {other}, both are {getattr(self, key)!r}"]
        return faults


@frozen
class Redis:
    """The Redis that carries the messages."""

    url: str | None = knob(
        None,
        "Which server: `redis://`, `rediss://`, `unix://`, `redis+sentinel://`, or `embedded://` for the bundled one."
        " Not set: a server at `redis://127.0.0.1:6379/0` if one answers and is fit, else the bundled one."
        " Empty: none (degraded).",
        check=knobs.redis_url,
    )
    stream: str = knob("metawsm-forum", "Key of the ordered feed of every event.", check=knobs.topic)
    group: str = knob(
        "metawsm-forum", "Group of the command handlers and prefix of the subscribers' groups.", check=knobs.topic
    )
    consumer: str = knob("operator", "Name of this daemon's consumer in the groups.", check=knobs.name)
    retention_hours: int = knob(72, "Hours that entries are kept in the streams.", check=between(1, 8760))
    max_entries: int = knob(1_000_000, "Most entries kept in one stream.", check=between(1000, 100_000_000))
    trusted_publishers: bool = knob(False, "Whether commands from Redis may speak for a human or an operator.")


@frozen
class Sla:
    """When a waiting thread is escalated."""

    escalation_minutes: int = knob(30, "Minutes a thread may wait before it is overdue.", check=between(1, 525_600))
    max_escalations: int = knob(3, f"Most escalations of one wait. {UNUSED}", check=between(0, 100))


@frozen
class DocsSync:
    """Decisions written back into the ticket's documents."""

    enabled: bool = knob(True, f"Whether decisions are written into the ticket's documents. {UNUSED}")


@frozen
class Limits:
    """Where the daemon says no instead of growing."""

    outbox: int = knob(
        200_000, "Most rows not done in the outbox; above it writes answer 503.", check=between(100, 10**8)
    )


@frozen
class Forum:
    """The forum."""

    enabled: bool = knob(True, "Whether the forum is served; if not, its routes answer 503 and runs still work.")
    topics: Topics = field(factory=Topics)
    redis: Redis = field(factory=Redis)
    sla: Sla = field(factory=Sla)
    docs_sync: DocsSync = field(factory=DocsSync)
    limits: Limits = field(factory=Limits)

    def faults(self) -> Faults:
        """The feed must not be a topic as well."""
        prefixes = (self.topics.command_prefix, self.topics.event_prefix, self.topics.integration_prefix)
        for prefix in prefixes:
            if f"{self.redis.stream}.".startswith(f"{prefix}."):
                return {"redis.stream": [f"must not lie under the topic prefix {prefix!r}"]}
        return {}


@frozen
class Auth:
    """Who may do what without a token."""

    loopback: Literal["agent", "open", "token"] = knob(
        "agent",
        "Requests from this machine without a token: `agent` may read and write as an agent, `open` may be any actor,"
        " `token` refuses them.",
    )


@frozen
class Backup:
    """Backups of the database."""

    folder: str = knob(
        "backups",
        "Folder of the backups; a relative one is beside the database.",
        check=knobs.filled,
        file_only=True,
    )
    keep: int = knob(
        14,
        "Newest backups that are kept, and as many of those that are made before migrations.",
        check=between(1, 10_000),
    )


@frozen
class Workspace:
    """Where agents work."""

    default_strategy: Literal["create", "fork", "reuse"] = knob("create", "How a run gets its workspace.")
    branch_prefix: str = knob("task", "First part of the branches of runs.", check=knobs.branch_part)
    base_branch: str = knob("main", "Branch that work starts from and is merged into.", check=knobs.git_ref)
    tool: Literal["builtin", "wsm"] = knob("builtin", "What makes workspaces: metawsm itself, or the program `wsm`.")
    root: str = knob(
        "workspaces",
        "Folder of the workspaces; a relative one is beside the database.",
        check=knobs.filled,
        file_only=True,
    )
    repo_roots: tuple[str, ...] = knob(
        ("..", "../.."),
        "Folders that are repositories or have them directly inside; relative ones begin at the database's folder.",
        file_only=True,
    )


@frozen
class Tmux:
    """Terminal sessions of agents."""

    session_pattern: str = knob(
        "{agent}-{workspace}",
        "Name of an agent's session; `{agent}` and `{workspace}` are filled in.",
        check=knobs.session_pattern,
    )
    socket: str = knob("", "Name or path of the tmux server's socket; empty for the user's own server.", file_only=True)


@frozen
class Execution:
    """Steps of a run."""

    step_retries: int = knob(1, "How often a failed step is tried again.", check=between(0, 100))


@frozen
class Health:
    """When an agent counts as idle or stalled."""

    idle_seconds: int = knob(300, "Seconds without output after which an agent is idle.", check=SECONDS)
    activity_stalled_seconds: int = knob(900, "Seconds without activity after which it is stalled.", check=SECONDS)
    progress_stalled_seconds: int = knob(1200, "Seconds without progress after which it is stalled.", check=SECONDS)
    check_seconds: int = knob(5, "Seconds between two looks at the sessions of agents.", check=between(1, 3600))
    progress_check_seconds: int = knob(
        30,
        "Seconds between two looks at the checkouts of a run. What happens to a run brings a look of its own.",
        check=between(1, 86_400),
    )

    def faults(self) -> Faults:
        """An agent is idle before it is stalled."""
        if self.activity_stalled_seconds >= self.idle_seconds:
            return {}
        return {"activity_stalled_seconds": [f"must be at least idle_seconds ({self.idle_seconds})"]}


@frozen
class Close:
    """Closing a run."""

    require_clean_git: bool = knob(True, "Whether a run closes only when its workspaces have no uncommitted work.")


@frozen
class Llm:
    """The model that drafts for the operator. Only the file can set it."""

    mode: Literal["off", "assist", "auto"] = knob("assist", f"What the model may do. {UNUSED}", file_only=True)
    command: str = knob("codex", f"Program that is called. {UNUSED}", check=knobs.filled, file_only=True)
    model: str = knob("", f"Model that the program is told to use; empty for its own choice. {UNUSED}", file_only=True)
    timeout_seconds: int = knob(30, f"Seconds a call may take. {UNUSED}", check=between(1, 3600), file_only=True)
    max_tokens: int = knob(400, f"Longest answer, in tokens. {UNUSED}", check=between(1, 1_000_000), file_only=True)


@frozen
class Operator:
    """The operator loop, which looks after runs."""

    unhealthy_confirmations: int = knob(2, "Looks in a row that must find an agent unhealthy.", check=between(1, 1000))
    restart_budget: int = knob(3, "Restarts of one agent before a human is asked.", check=between(1, 1000))
    restart_cooldown_seconds: int = knob(60, "Seconds between two restarts of one agent.", check=SECONDS)
    stale_run_age_seconds: int = knob(3600, "Seconds after which a run without life is stale.", check=SECONDS)
    llm: Llm = field(factory=Llm)


@frozen
class DocEndpoint:
    """A documentation server that is asked for a ticket's documents."""

    name: str = required("Name of the endpoint, unique among all.", check=knobs.filled)
    base_url: str = required("Where its interface answers.", check=knobs.web_url)
    repo: str = required("Repository whose documents it serves.", check=knobs.filled)
    web_url: str = knob("", "Where people read it.", check=knobs.web_url_or_empty, file_only=True)
    workspace: str = knob("", "Workspace it belongs to (workspace endpoints only).", file_only=True)


@frozen
class DocsApi:
    """Documentation servers. Only the file can set them."""

    workspace_endpoints: tuple[DocEndpoint, ...] = knob((), f"Servers of single workspaces. {UNUSED}", file_only=True)
    repo_endpoints: tuple[DocEndpoint, ...] = knob((), f"Servers of repositories. {UNUSED}", file_only=True)
    request_timeout_seconds: int = knob(
        3, f"Seconds a request may take. {UNUSED}", check=between(1, 600), file_only=True
    )

    def faults(self) -> Faults:
        """Names are unique over both lists; a workspace's endpoint names its workspace."""
        every = (*self.workspace_endpoints, *self.repo_endpoints)
        faults = _repeated("workspace_endpoints", (endpoint.name for endpoint in every))
        for index, endpoint in enumerate(self.workspace_endpoints):
            if not endpoint.workspace:
                faults[f"workspace_endpoints[{index}].workspace"] = ["is required here"]
        return faults


@frozen
class Docs:
    """Documents of tickets."""

    authority_mode: Literal["workspace_active"] = knob(
        "workspace_active", f"Which copy of the documents counts. {UNUSED}"
    )
    seed_mode: Literal["none", "copy_from_repo_on_start"] = knob("none", "What a new workspace's documents start from.")
    stale_warning_seconds: int = knob(900, "Age of a sync, in seconds, that is warned about.", check=SECONDS)
    tool: Literal["builtin", "docmgr"] = knob(
        "builtin", "What writes tickets' documents: metawsm itself, or the program `docmgr`."
    )
    api: DocsApi = field(factory=DocsApi)


@frozen
class RunnerOptions:
    """Options of an agent's runner."""

    full_auto: bool = knob(False, "Whether a codex runner acts without asking.", file_only=True)
    command: str = knob("", "Command of a shell runner.", file_only=True)


@frozen
class AgentProfile:
    """A kind of agent."""

    name: str = required("Name of the profile.", check=knobs.name)
    runner: Literal["codex", "shell"] = required("What runs the agent.")
    base_prompt: str = knob("", "What a codex agent is told first; required there.", file_only=True)
    skills: tuple[str, ...] = knob(
        (),
        "Names of skills that a codex agent has to read. `NAME/SKILL.md` is looked for in `.metawsm/skills` of the"
        " agent's checkout, in `skills` of the folder that holds the database (`.metawsm`), and in `~/.codex/skills`.",
        file_only=True,
    )
    delivery: Literal["line", "paste", "none"] = knob(
        "line",
        "How an answer reaches an agent that does not listen: `line` types `metawsm forum inbox` into its idle"
        " terminal, `paste` pastes the answer itself, `none` leaves it alone.",
        file_only=True,
    )
    runner_options: RunnerOptions = field(factory=RunnerOptions)

    def faults(self) -> Faults:
        """What each runner cannot do without."""
        if self.runner == "codex" and not self.base_prompt.strip():
            return {"base_prompt": ["is required for the runner codex"]}
        if self.runner == "shell" and not self.runner_options.command.strip():
            return {"runner_options.command": ["is required for the runner shell"]}
        return {}


@frozen
class Agent:
    """An agent that runs may start."""

    name: str = required("Name of the agent.", check=knobs.name)
    profile: str = required("Name of its profile.", check=knobs.name)


def default_profiles() -> tuple[AgentProfile, ...]:
    """The profile that is there without a policy file."""
    return (AgentProfile(name="default-shell", runner="shell", runner_options=RunnerOptions(command="bash")),)


def default_agents() -> tuple[Agent, ...]:
    """The agent that is there without a policy file."""
    return (Agent(name="agent", profile="default-shell"),)


@frozen
class Policy:
    """Everything that can be set."""

    version: Literal[2] = knob(2, "Version of this file's form.", file_only=True)
    forum: Forum = field(factory=Forum)
    auth: Auth = field(factory=Auth)
    backup: Backup = field(factory=Backup)
    workspace: Workspace = field(factory=Workspace)
    tmux: Tmux = field(factory=Tmux)
    execution: Execution = field(factory=Execution)
    health: Health = field(factory=Health)
    close: Close = field(factory=Close)
    operator: Operator = field(factory=Operator)
    docs: Docs = field(factory=Docs)
    agent_profiles: tuple[AgentProfile, ...] = knob(default_profiles, "Kinds of agents.", file_only=True)
    agents: tuple[Agent, ...] = knob(default_agents, "Agents that runs may start.", file_only=True)

    def faults(self) -> Faults:
        """Names are unique and every agent's profile exists."""
        profiles = [profile.name for profile in self.agent_profiles]
        faults = _repeated("agent_profiles", profiles) | _repeated("agents", (agent.name for agent in self.agents))
        for index, agent in enumerate(self.agents):
            if agent.profile not in profiles:
                known = ", ".join(profiles) or "none"
                faults[f"agents[{index}].profile"] = [f"no profile is named {agent.profile!r} (known: {known})"]
        return faults


def _repeated(path: str, names: Iterable[str]) -> Faults:
    """A fault for `path` when a name is used more than once."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    return {path: [f"the name {name!r} is used twice" for name in twice]} if twice else {}
