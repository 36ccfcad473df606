"""Groups of parameters, a file each, so that a stage depends only on the groups that it reads."""
