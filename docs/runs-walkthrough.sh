#!/bin/sh
# A run from beginning to end, in an empty folder: runs-walkthrough.sh [FOLDER] (the current one if none is named).
#
# Needs git, tmux, Python and metawsm.pyz (on PATH, in dist/ of the checkout this script lies in, or named in METAWSM_PYZ).
# Makes two git repositories, a policy and an agent there, starts a daemon of its own, plays one ticket, and stops what it
# has started. Nothing of yours is touched: the daemon takes a free port and brings its own Redis, the agent's terminal is on
# a tmux server of its own. What was made in the folder stays for you to look at.
set -eu
case ${1-} in -*) sed -n '2s/^# //p' "$0"; exit 2 ;; esac

say() { printf '\n== %s\n' "$*"; }

show() {  # a command as it is typed, and what it says
    printf '$ metawsm.pyz'
    for word in "$@"; do
        case $word in *[!A-Za-z0-9_./,=-]*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    printf '\n'
    metawsm "$@" 2>&1
}

fail() { printf 'runs-walkthrough: %s\n' "$*" >&2; exit 1; }

metawsm() { "$pyz" "$@"; }

# What it needs, before anything is made.
for program in git tmux; do
    command -v "$program" >/dev/null || fail "needs $program on PATH"
done
pyz=${METAWSM_PYZ:-$(command -v metawsm.pyz || printf '%s/../dist/metawsm.pyz' "$(cd "$(dirname "$0")" && pwd)")}
"$pyz" version >/dev/null || fail "no metawsm.pyz: build it with build.py, or name it in METAWSM_PYZ"
mkdir -p "${1:-.}" && cd "${1:-.}"
[ -z "$(ls -A)" ] || fail "$PWD is not empty; name an empty folder"
case $PWD in *[\'\"\\]*) fail "$PWD has a quote or a backslash in its name, which the policy below would have to escape" ;; esac
unset METAWSM_SERVER METAWSM_TOKEN METAWSM_TOKEN_FILE METAWSM_RUN_ID METAWSM_TICKET METAWSM_AGENT METAWSM_ACTOR_TYPE
socket=metawsm-walkthrough-$$
daemon=

stop() {  # whatever happens, nothing that was started here goes on
    [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null && wait "$daemon" || true; }
    tmux -L "$socket" kill-server 2>/dev/null || true
    rm -f "${TMUX_TMPDIR:-/tmp}/tmux-$(id -u)/$socket"
}
trap stop EXIT
trap 'exit 130' INT TERM

say "Two repositories, as a project might have them"
for name in api web; do
    git init -q "repos/$name"
    git -C "repos/$name" symbolic-ref HEAD refs/heads/main
    printf 'What %s says to its users.\n' "$name" >"repos/$name/README.md"
    git -C "repos/$name" add --all
    git -C "repos/$name" -c user.name=you -c user.email=you@localhost commit -qm "begin"
    git -C "repos/$name" log --format="$name: %h %s on %D"
done

say "An agent: here a small program; it could be any that runs in a terminal and can call \`metawsm\`"
cat >agent <<'AGENT'
#!/bin/sh
# It knows nothing but its environment: METAWSM_SERVER, METAWSM_RUN_ID, METAWSM_AGENT, METAWSM_TOKEN, ...
set -eu
case ${1-} in -*) sed -n '2s/^# //p' "$0"; exit 2 ;; esac
metawsm forum signal --type guidance_request --question "Which greeting do you want for $METAWSM_TICKET?"
greeting=$(metawsm forum wait)    # sleeps until somebody has answered
for repository in ../*/; do       # its workspace: a checkout of each repository, side by side
    printf '%s\n' "$greeting" >"$repository/GREETING"
    git -C "$repository" add GREETING
    git -C "$repository" -c user.name="$METAWSM_AGENT" -c user.email=agent@localhost commit -qm "Greet the users"
done
metawsm forum signal --type completion --summary "Greetings are there"
metawsm forum signal --type validation --status passed --done-criteria "both repositories greet"
AGENT
chmod +x agent
cat agent

say "The policy: where repositories are, which agents there are, a tmux server of our own"
mkdir -m 700 .metawsm
cat >.metawsm/policy.json <<POLICY
{
  "version": 2,
  "forum": {"redis": {"url": "embedded://"}},
  "tmux": {"socket": "$socket"},
  "workspace": {"repo_roots": ["../repos"]},
  "agent_profiles": [
    {"name": "greeter", "runner": "shell", "runner_options": {"command": "exec '$PWD/agent'"}}
  ],
  "agents": [{"name": "bob", "profile": "greeter"}]
}
POLICY
cat .metawsm/policy.json

say "The daemon, on a free port; it goes on in the background and logs to serve.log"
"$pyz" serve --addr 127.0.0.1:0 2>serve.log &
daemon=$!
while ! METAWSM_SERVER=$(grep -o 'http://127.0.0.1:[0-9]*' serve.log); do
    kill -0 "$daemon" 2>/dev/null || { cat serve.log >&2; fail "the daemon did not start"; }
    sleep 0.1
done
export METAWSM_SERVER
echo "it serves $METAWSM_SERVER"

say "Bootstrap a ticket over both repositories, with a brief of what is to be done"
show bootstrap --ticket MET-1 --repos api,web --goal "Greet the users" --scope "A file GREETING, nothing else" \
    --done-criteria "both repositories greet" --constraints "No new dependency"

say "The agent has asked by now, and the run waits"
show watch --ticket MET-1 --until awaiting_guidance
show status --ticket MET-1

say "You answer, from another shell: any answer on the agent's thread will do"
run=$(metawsm status --all --json | sed -n 's/.*"run_id": *"\(run-[^"]*\)".*/\1/p' | head -n 1)
show forum signal --run-id "$run" --ticket MET-1 --agent-name bob --type guidance_answer --answer "Good morning"

say "The agent wakes up, works, reports; the run is completed"
show watch --ticket MET-1 --until completed
show status --ticket MET-1

say "Look at what would be merged, and merge it"
show merge --ticket MET-1 --dry-run
show merge --ticket MET-1
for name in api web; do
    echo "repos/$name: $(cat "repos/$name/GREETING")"
done

say "Close the run: its gates are checked, the ticket's documents are completed"
show close --ticket MET-1

say "Clean up: session and workspace go, branches and history stay"
show cleanup --ticket MET-1
git -C repos/api log --oneline --graph

say "Stop the daemon"
kill "$daemon"
wait "$daemon"
daemon=
tail -n 1 serve.log
say "Done. $PWD is as the run has left it; start the daemon there again, and \`status --all\` still knows it."
