"""What `doctor` looks at, one module per subject. A check changes nothing and yields findings."""
