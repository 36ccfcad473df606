"""Training without a workspace: fetch, validate, template and train in one process, into a run folder of its own.

What `martlet sft` and `martlet pt` share, and every other command that trains in place.
"""

import gc
import os
import re
import shutil
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from components import files, tracking
from components.config import FAMILIES, Params
from components.errors import ConfigError, InterruptedRunError, MartletError, did_you_mean
from components.files import is_complete, is_intact, read_json, write_json
from components.parallel import KILLED_MESSAGE, die_with_parent
from tasks import preflight
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, Stage

if TYPE_CHECKING:
    from tasks.looking.preview import Preview
    from tasks.stages import stream

PARAMETERS = (
    "data", "validation", "model", "method", "template", "multimodal", "tuner", "train", *FAMILIES, "plugins",
    "tracking", "generation.max_new_tokens", "generation.temperature", "generation.top_k", "generation.top_p",
    "generation.repetition_penalty", "generation.stop_words", "vllm.vllm_gpu_memory_utilization",
    "vllm.vllm_max_model_len", "vllm.vllm_enforce_eager", "vllm.vllm_engine_kwargs", "run.output_dir",
    "run.add_version", "run.resume_from_checkpoint", "run.resume_only_model", "run.dataset_num_proc",
)  # fmt: skip
"""The flags of a command that trains."""
RUN_FOLDER = re.compile(r"v(\d+)-")
"""How the name of a run folder begins, with its version."""
AUTO = "auto"
"""The name of the newest checkpoint in --resume_from_checkpoint."""


class Screen(Protocol):
    """What a command shows while a run goes on."""

    def prepared(self, results: tuple[Result, Result, Result], paths: Paths) -> None:
        """The data are ready: the results of fetch, validate and template."""
        ...

    def preview(self, look: "Preview") -> None:
        """What the training will see, before it begins."""
        ...

    def streaming(self, datasets: list[dict[str, Any]], validation: Result | None) -> None:
        """The sources of a stream are resolved."""
        ...

    def finished(self, paths: Paths) -> None:
        """The run has ended before, with nothing left to do."""
        ...

    def progress(self, entry: dict[str, Any]) -> None:
        """One line of the training's progress."""
        ...

    def trained(self, result: Result, paths: Paths) -> None:
        """The training has ended."""
        ...


def require(params: Params, typed: Iterable[str] = ()) -> None:
    """Check what can be checked before anything is written; `typed` are the parameters of the command line.

    Raises:
        ConfigError: naming every problem.
    """
    required = {"model": params.model.model, "dataset": params.data.dataset}
    if missing := [f"--{name} is needed" for name, value in required.items() if not value]:
        raise ConfigError("; ".join(missing) + "; `martlet sft --help` shows an example")
    problems = preflight.problems(params, typed=typed)
    if params.data.streaming:
        from tasks.stages import stream

        problems += stream.problems(params)
    if problems:
        raise ConfigError("\n".join(problems))


def with_start(params: Params) -> Params:
    """Return `params` with the checkpoint to start from named: for `auto`, the newest whole one of the newest run in
    --output_dir that has one, or none.

    Raises:
        ConfigError: the checkpoint is not there.
    """
    run = params.run
    if run.resume_from_checkpoint == AUTO:
        if run.resume_only_model:
            raise ConfigError(
                "--resume_only_model begins a new run: name a checkpoint instead of --resume_from_checkpoint auto"
            )
        from components.training import is_checkpoint

        folder = Path(run.output_dir)
        runs = [path for _, path in sorted(_versions(folder), reverse=True)] if run.add_version else [folder]
        newest = next((at for path in runs if (at := newest_checkpoint(path, is_checkpoint))), None)
        start = str(newest) if newest else None
        return params.model_copy(update={"run": run.model_copy(update={"resume_from_checkpoint": start})})
    if run.resume_from_checkpoint:
        checkpoint = Path(run.resume_from_checkpoint).resolve()
        if not checkpoint.is_dir():
            siblings = [folder.name for folder in checkpoint.parent.glob("checkpoint-*")]
            raise ConfigError(
                f"--resume_from_checkpoint {checkpoint}: no such folder{did_you_mean(checkpoint.name, siblings)}"
            )
    return params


def run_folder(params: Params) -> Path:
    """Return the folder of this run: a new vN-DATE-TIME below --output_dir, or that of the checkpoint to go on from. Of
    several machines, those after the first have node-N below --output_dir.

    Raises:
        ConfigError: the folder cannot be made.
    """
    machine = other_machine(params)
    if not machine and params.run.resume_from_checkpoint and not params.run.resume_only_model:
        return Path(params.run.resume_from_checkpoint).resolve().parent
    folder = Path(params.run.output_dir).resolve()
    if machine:
        folder /= f"node-{machine}"
    elif params.run.add_version:
        newest = max((number for number, _ in _versions(folder)), default=-1)
        folder /= f"v{newest + 1}-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output_dir {params.run.output_dir}: {error.strerror}") from error
    return folder


def other_machine(params: Params) -> int:
    """Return the number of this machine among those that train together; 0 leads the run and has its results."""
    from components.training import settled_world

    return settled_world(params.distributed).node_rank or 0


def _versions(folder: Path) -> list[tuple[int, Path]]:
    """Return the run folders below an output folder, with their numbers."""
    return [(int(match[1]), path) for path in folder.glob("v*") if (match := RUN_FOLDER.match(path.name))]


def discard(params: Params, folder: Path) -> None:
    """Remove the run folder of a start that its configuration did not allow: the error says all that is in it."""
    is_new_run = params.run.resume_only_model or not params.run.resume_from_checkpoint
    if other_machine(params) or (params.run.add_version and is_new_run):
        shutil.rmtree(folder)


def newest_checkpoint(folder: Path, is_whole: Callable[[Path], bool] = is_complete) -> Path | None:
    """Return the newest checkpoint in `folder` that is whole, by default by its files' sizes, or None."""
    from components.training.checkpoints import all_in

    return next((checkpoint for checkpoint in reversed(all_in(folder)) if is_whole(checkpoint)), None)


def train(params: Params, folder: Path, screen: Screen, following: Callable[..., Any]) -> None:
    """Take the datasets to a trained model in the run folder `folder`, and tell MLflow of it.

    Args:
        following: `following(file, show)` is a context in which `show` gets each line appended to a progress file.

    Raises:
        InterruptedRunError: the user stopped the run.
        MartletError: a stage's own reason.
    """
    from components.training.checkpoints import all_in, held
    from tasks.stages import runner

    paths = Paths(root=folder, workspace=Path.cwd(), checkpoints=folder)
    with held(folder), ExitStack() as stack:
        files.remove_leftovers(folder)
        prepared = _streamed if params.data.streaming else _prepared
        if all_in(folder):  # whose files stay as they are until it is known that the run can go on from them
            body = stack.enter_context(prepared(params, paths, screen))
            if body is None:
                screen.finished(paths)
                return
            stack.enter_context(_recorded(params, paths))
        else:
            stack.enter_context(_recorded(params, paths))
            body = stack.enter_context(prepared(params, paths, screen))
            assert body
        with following(paths.log("train") / "progress.jsonl", _Following(params, paths, screen)):
            result = runner.run("train", body, params, paths)
        screen.trained(result, paths)


@contextmanager
def _recorded(params: Params, paths: Paths) -> Generator[None]:
    """Write args.json, and how the run began and ended for MLflow, of which machine 0 tells alone."""
    if other_machine(params):
        yield
        return
    write_json(paths.root / "args.json", params.model_dump())
    tracking.begin(paths.root, params.model_dump())
    try:
        yield
    except (InterruptedRunError, KeyboardInterrupt) as error:
        reason = str(error) or "interrupted"
        tracking.end(paths.root, "interrupted", reason)
        raise InterruptedRunError(reason) from error
    except MartletError as error:
        with suppress(OSError):  # a full disk must not hide why the run failed
            tracking.end(paths.root, "failed", str(error))
        raise
    tracking.end(paths.root, "done")


@contextmanager
def _beside_checkpoints(paths: Paths) -> Generator[Paths]:
    """Yield where the data of a run are made ready: its own folder, or beside checkpoints a folder for what is not yet
    known to fit, which is removed at the end with all that was not moved, unless an error names a file there."""
    from components.training.checkpoints import all_in
    from tasks.looking.folder import report_kept

    if not all_in(paths.root):
        yield paths
        return
    place = replace(paths, root=paths.root / f".next.{os.getpid()}.tmp")
    try:
        with report_kept(place):
            yield place
    finally:
        if not any(place.root.rglob("error.txt")):
            files.remove(place.root)


@contextmanager
def _prepared(params: Params, paths: Paths, screen: Screen) -> Generator[Stage | None]:
    """Make the data ready in a process of their own; importing what trains takes as long, and is done meanwhile.

    Yields the stage that trains, or None for a run that has ended.
    """
    from components.training import preload
    from tasks.stages import workers

    with _beside_checkpoints(paths) as place:
        with ProcessPoolExecutor(1, get_context("fork"), die_with_parent) as pool:
            data = pool.submit(make_data, params, place)
            imports = preload()
            workers.warm_up(params)
            results = _result(data)
        if place is paths:
            screen.prepared(results, paths)
        imports.join()
        gc.freeze()  # what was imported is no garbage, and a look through it takes as long as a small model's step
        if place is not paths:
            if _is_finished(params, place, paths):
                yield None
                return
            files.move_entries(place.root, paths.root)
            screen.prepared(results, paths)
    from tasks.looking.preview import preview
    from tasks.stages import train

    screen.preview(preview(params, paths))
    yield train.run


@contextmanager
def _streamed(params: Params, paths: Paths, screen: Screen) -> Generator[Stage | None]:
    """Read and tokenise the data in a process that goes on beside the training.

    Yields the stage that trains, or None for a run that has ended.
    """
    from components.training import preload
    from tasks.stages import stream, train, workers

    with _beside_checkpoints(paths) as place:
        validation = None
        if params.data.val_dataset:
            with ProcessPoolExecutor(1, get_context("fork"), die_with_parent) as pool:
                validation = _result(pool.submit(make_data, *stream.of_validation(params, place)))[2]
        with stream.flowing(params, paths, place) as feed:
            preload()
            workers.warm_up(params)
            screen.streaming(feed.about["datasets"], validation)
            if _is_finished(params, place, paths, feed):
                yield None
                return
            if place is not paths:
                files.move_entries(place.root, paths.root)
            yield partial(train.run, feed=feed)


def _is_finished(params: Params, place: Paths, paths: Paths, feed: "stream.Feed | None" = None) -> bool:
    """Return whether a run with the data of `place` has ended in the folder of `paths`, and has all of its files.

    Raises:
        ConfigError: the run cannot go on from the checkpoints there.
    """
    from tasks.stages import train

    is_at_end = train.check_start(params, place, feed)
    return is_at_end and tracking.record(paths.root).get("outcome") == "done" and is_intact(paths.adapter)


def _result(data: "Future[tuple[Result, Result, Result]]") -> tuple[Result, Result, Result]:
    """Return what the process that makes the data ready returns; an interruption ends that process."""
    try:
        return data.result()
    except BrokenProcessPool as error:
        raise MartletError(KILLED_MESSAGE) from error
    except KeyboardInterrupt:
        for process in active_children():
            process.kill()
        raise


def make_data(params: Params, paths: Paths) -> tuple[Result, Result, Result]:
    """Take the datasets to tokens in the folders of `paths`; return the results of fetch, validate and template."""
    from tasks.stages import fetch, reuse, runner

    fetched = runner.run("fetch", fetch.run, params, paths)
    return fetched, reuse.run("validate", params, paths), reuse.run("template", params, paths)


class _Following:
    """Hands each line of progress to the screen; MLflow is told from the first step on, so that the start does not wait
    for its import."""

    def __init__(self, params: Params, paths: Paths, screen: Screen) -> None:
        self.paths, self.screen, self.waiting = paths, screen, "mlflow" in params.tracking.report_to

    def __call__(self, entry: dict[str, Any]) -> None:
        self.screen.progress(entry)
        if self.waiting and "step" in entry:
            tracking.follow(self.paths.root, self.paths.workspace)
            self.waiting = False


def left_out(paths: Paths) -> tuple[int, int] | None:
    """Return how many rows of a stream were left out and how many were read, or None for a run without a stream."""
    file = paths.reports / "stream.json"
    if not file.is_file():
        return None
    report = read_json(file)
    return sum(report["left_out"].values()), report["rows"]
