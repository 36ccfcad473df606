"""One file per group, so that a stage depends on just the groups it reads."""
