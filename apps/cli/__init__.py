"""The command line: one file per command, no logic of its own.

A command's module has `PARAMETERS`, the groups or `group.leaf` names it takes as flags; `add_arguments(parser)` for
what is not a parameter; and `run(arguments, given) -> int | None`, where `given` holds the parameters that were
written, by leaf name. What it raises as a `MartletError` is printed in one line, with that error's exit code.
"""
