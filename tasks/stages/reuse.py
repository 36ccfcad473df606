"""Stages whose results the direct commands keep in the cache; in a workspace, DVC keeps them."""

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
    """A stage's body, the function that returns what its result is made of, and the paths that the stage writes."""

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
    """Run the stage `name`, or restore its result from the cache; a restored result has the key `cached`."""
    stage = STAGES[name]

    def body(params: Params, paths: Paths) -> Result:
        made_of, outs = stage.made_of(params, paths), stage.outs(paths)
        result = cache.restore(name, made_of, outs)
        if result is not None:
            return result | {"cached": True}
        result = stage.body(params, paths)
        try:
            cache.keep(name, made_of, outs, result)
        except OSError as error:  # the run goes on when the cache's disk is full or read-only
            print(f"martlet: the result of {name} is not kept in {cache.root()}: {error.strerror}", file=sys.stderr)
        return result

    return runner.run(name, body, params, paths)
