"""Side environments: Python environments of their own for programs whose requirements conflict with Martlet's.

    python = require("vllm")                                   # ConfigError with the command, if it is not installed
    result = call("awq", Path("work.py"), {"model": "…"}, print)

`work.py` runs in the environment, where no package of Martlet's is installed. It defines one function:

    def run(request: dict, report: Callable[[dict], None]) -> dict:
        report({"done": 1, "total": 32})                       # reaches `on_progress`
        return {"seconds": 3.2}                                # JSON

An environment is the folder `.venvs/NAME` of the workspace, or `$MARTLET_ENVIRONMENTS/NAME`, made by `martlet env
install NAME` from the pins in `environments/NAME.txt`. Its manifest is written last: a folder without one counts as
absent.
"""

from components.environments.build import State, check, install, state, uninstall
from components.environments.calls import call
from components.environments.catalogue import ENVIRONMENTS, Environment, has_gpu, is_installed, known, require, root

__all__ = [
    "ENVIRONMENTS",
    "Environment",
    "State",
    "call",
    "check",
    "has_gpu",
    "install",
    "is_installed",
    "known",
    "require",
    "root",
    "state",
    "uninstall",
]
