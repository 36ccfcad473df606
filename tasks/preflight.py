"""What the parameters name and what is not there, found before anything runs."""

from pathlib import Path

from components import data
from components.config import Params
from components.errors import ConfigError
from tasks.stages import methods


def missing_files(params: Params, root: Path = Path()) -> list[str]:
    """Return a sentence for each dataset that is not there; local names are looked up from `root`."""
    problems: list[str] = []
    custom: list[Path] = []
    for name in params.data.custom_dataset_info:
        file = root / Path(name).expanduser()
        if file.exists():
            custom.append(file)
        else:
            problems.append(f"data.custom_dataset_info: '{name}': no such file")
    for leaf in ("dataset", "val_dataset", "eval_dataset"):
        for name in getattr(params.data, leaf):
            try:
                data.resolve([name], root, params.data.use_hf, {}, None, custom)
            except ConfigError as error:
                problems.append(f"data.{leaf}: {error}")
    return problems


def problems(params: Params, root: Path = Path()) -> list[str]:
    """Return a sentence for each dataset and each method that is not there."""
    return missing_files(params, root) + methods.problems(params, root)
