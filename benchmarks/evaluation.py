"""Seconds that an evaluation takes beside the model's own: `martlet eval` on 200 questions against a server that
answers at once, and the same requests sent without it.

    python -m benchmarks.evaluation
"""

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from tests.components.evaluation.standin import answering

QUESTIONS = 200
AT_ONCE = 16


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with TemporaryDirectory() as folder, answering(lambda question: question) as (url, _):
        file = Path(folder, "echo.jsonl")
        file.write_text("".join(json.dumps({"query": f"word {n}", "response": f"word {n}"}) + "\n"
                                for n in range(QUESTIONS)))  # fmt: skip
        start = time.monotonic()
        with httpx.Client(timeout=60) as client, ThreadPoolExecutor(AT_ONCE) as pool:
            bodies = [{"model": "m", "messages": [{"role": "user", "content": f"word {n}"}]} for n in range(QUESTIONS)]
            list(pool.map(lambda body: client.post(f"{url}/chat/completions", json=body).json(), bodies))
        alone = time.monotonic() - start
        command = [sys.executable, "-m", "apps.cli.main", "eval", "--eval_url", url, "--eval_dataset", str(file)]
        start = time.monotonic()
        subprocess.run([*command, "--eval_output_dir", folder], check=True, capture_output=True)
        whole = time.monotonic() - start
    print(f"{QUESTIONS} requests alone {alone:.1f} s, martlet eval {whole:.1f} s: {whole - alone:.1f} s beside them")


if __name__ == "__main__":
    main()
