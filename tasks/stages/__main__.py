"""A stage as a program, as `dvc.yaml` starts it: `python -m tasks.stages quantize bnb-int8`."""

import sys
from pathlib import Path

from tasks.stages.warm import run

if __name__ == "__main__":
    name, *words = sys.argv[1:] or [""]
    if not Path(__file__).with_name(f"{name}.py").is_file():
        print(f"martlet: there is no stage '{name}'; dvc.yaml names the stages", file=sys.stderr)
        sys.exit(2)
    run(f"tasks.stages.{name}", words)
