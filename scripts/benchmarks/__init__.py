"""What scripts/bench measures, one module per part of the daemon."""
