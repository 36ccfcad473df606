"""A stage as a program, as `dvc.yaml` starts it: `python -m tasks.stages quantize bnb-int8`."""

import sys

from tasks.stages.warm import run

if __name__ == "__main__":
    run(f"tasks.stages.{sys.argv[1]}", sys.argv[2:])
