"""Runs in a side environment, with the standard library alone: `python _child.py SCRIPT REQUEST`.

Loads SCRIPT, calls its `run(request, report)`, and writes one JSON object per line to standard output: `{"progress":
…}` any number of times, then `{"result": …}` or `{"error": …}`. What anything else prints goes to standard error.
"""

import json
import os
import runpy
import sys
import traceback


def main() -> None:
    script, request = sys.argv[1:]
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(**message: object) -> None:
        print(json.dumps(message), file=messages, flush=True)

    try:
        with open(request, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes longer to import
            request = json.load(file)
        run = runpy.run_path(script)["run"]
        send(result=run(request, lambda progress: send(progress=progress)))
    except Exception as error:
        traceback.print_exc()
        send(error=" ".join(f"{type(error).__name__}: {error}".split()))
    sys.stdout.flush()
    os._exit(0)  # threads of libraries have nothing left to do


if __name__ == "__main__":
    main()
