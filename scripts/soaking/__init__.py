"""What scripts/soak does: load, faults, samples, and the reckoning."""
