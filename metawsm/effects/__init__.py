"""The outside: git, tmux, ticket documents, other programs. The only place that starts programs."""
