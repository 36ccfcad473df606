"""Runs a program whose API key can only be given as an argument: `python _with_key.py FLAG MODULE ARGUMENTS…`.

Needs the standard library alone. The key comes from MARTLET_ENGINE_KEY and is added to the arguments in this process,
where the list of processes does not show it.
"""

import os
import runpy
import sys

VARIABLE = "MARTLET_ENGINE_KEY"


def main() -> None:
    flag, module, *arguments = sys.argv[1:]
    key = os.environ.pop(VARIABLE, None)
    sys.argv = [module, *arguments, *((flag, key) if key else ())]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
