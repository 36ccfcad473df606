"""The command line: one file per command, no logic of its own.

A command's module has `PARAMETERS`, the groups or `group.leaf` names that it takes as flags; `add_arguments(parser)`
for flags that are no parameters; and `run(arguments, flags) -> int | None`, where `flags` are the parameters that the
user set, by leaf name. The message of a `MartletError` is printed, and the program ends with the error's exit code.
"""
