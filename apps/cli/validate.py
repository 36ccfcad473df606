"""Check params.yaml and recipes: names, types, values, and that local files exist. Nothing is run.

martlet validate                      params.yaml in this folder
martlet validate recipes/x.yaml       the recipe on top of it
"""

import argparse
from pathlib import Path
from typing import Any

from components import data
from components.config import LEAVES, Params, difference, read_yaml, resolve
from components.errors import ConfigError, did_you_mean

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="*", type=Path, help="recipes to check, each on top of params.yaml")


def run(arguments: argparse.Namespace, given: dict[str, Any]) -> None:
    base = Path("params.yaml")
    below = [read_yaml(base)] if base.is_file() or not arguments.recipe else []
    problems: list[str] = []
    for recipe in arguments.recipe or [base]:
        try:
            params = resolve(*below, *([read_yaml(recipe)] if recipe != base else []))
            problems += [f"{recipe}: {problem}" for problem in missing_files(params)]
        except ConfigError as error:
            problems.append(str(error))
            continue
        changed = difference(params)
        print(f"{recipe}: {len(changed)} of {len(LEAVES)} parameters differ from the defaults")
        for name, (old, new) in changed.items():
            print(f"  {name:<34} {new!r:<40} default {old!r}")
    if problems:
        raise ConfigError("\n".join(problems))


def missing_files(params: Params, root: Path = Path()) -> list[str]:
    """What the parameters name and what is not there: local files, looked up from `root`, names of methods."""
    problems: list[str] = []
    custom = [root / Path(name).expanduser() for name in params.data.custom_dataset_info]
    for name, file in zip(params.data.custom_dataset_info, list(custom), strict=True):
        if not file.exists():
            problems.append(f"data.custom_dataset_info: '{name}': no such file")
            custom.remove(file)
    for leaf in ("dataset", "val_dataset", "eval_dataset"):
        for name in getattr(params.data, leaf):
            try:
                data.resolve([name], root, params.data.use_hf, {}, None, custom)
            except ConfigError as error:
                problems.append(f"data.{leaf}: {error}")
    if params.template.loss_scale != "default":
        from components.templates import strategy

        try:
            strategy(
                params.template.loss_scale, [root / Path(p).expanduser() for p in params.template.external_plugins]
            )
        except ConfigError as error:
            problems.append(f"template.{error}")
    components = Path(__file__).parents[2] / "components"
    for leaf, names, folder in (
        ("tuner.train_type", [params.tuner.train_type], components / "tuners"),
        ("quantize.variants", params.quantize.variants, components / "export/quantizers"),
    ):
        valid = sorted(file.stem.replace("_", "-") for file in folder.glob("[a-z]*.py"))
        problems += [
            f"{leaf} must be one of {', '.join(valid)}, not '{name}'{did_you_mean(name, valid)}"
            for name in names
            if name not in valid
        ]
    return problems
