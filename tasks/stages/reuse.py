"""Stages whose results the direct commands share. In a workspace it is DVC that does no step twice."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from components import cache
from components.config import Params
from tasks.stages import runner, template, validate
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, Stage


class Reusable(NamedTuple):
    """A stage, what its result is made of, and the paths that it writes."""

    body: Stage
    made_of: Callable[[Params, Paths], Mapping[str, Any]]
    outs: Callable[[Paths], dict[str, Path]]


STAGES = {
    "validate": Reusable(
        validate.run,
        validate.made_of,
        lambda paths: {"clean": paths.clean, **{n: paths.reports / n for n in ("data.json", "data.html")}},
    ),
    "template": Reusable(template.run, template.made_of, lambda paths: {"tokens": paths.tokens}),
}


def run(name: str, params: Params, paths: Paths) -> Result:
    """Run the stage `name`, or take what it gave for the same parts before; the result then holds `cached`."""
    stage = STAGES[name]

    def body(params: Params, paths: Paths) -> Result:
        made_of, outs = stage.made_of(params, paths), stage.outs(paths)
        kept = cache.restore(name, made_of, outs)
        if kept is not None:
            return kept | {"cached": True}
        result = stage.body(params, paths)
        try:
            cache.keep(name, made_of, outs, result)
        except OSError as error:  # a full or read-only disk there does no harm here
            print(f"martlet: the result of {name} is not kept in {cache.root()}: {error.strerror}", file=sys.stderr)
        return result

    return runner.run(name, body, params, paths)
