"""The pages of docs/reference, generated from the definitions that serve."""
