"""Serve a model with OpenAI's API and a page to chat on; see `deploy`.

martlet app --model models/base --port 8000
"""

import argparse
from typing import Any

from apps.cli import deploy

PARAMETERS = deploy.PARAMETERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    deploy.serve(flags, with_page=True)
