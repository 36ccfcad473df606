"""Train an adapter (or all weights) on the tokens; goes on from where it was stopped."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import cache, hardware, models, training, tuners
from components.classes import HEAD, Classes, classes_of
from components.config import FAMILIES, SAVED_GROUPS, Params, difference
from components.errors import ConfigError, without_credentials
from components.files import MANIFEST, read_json, replacing_folder, sha256, write_json
from components.tokens import TokenRows
from components.training import ranks
from tasks.stages import estimate, workers
from tasks.stages.paths import Paths, plugin_files
from tasks.stages.runner import Result, main, progress

if TYPE_CHECKING:
    from tasks.stages.stream import Feed

CHECKED_ROWS = 4
CODE = (
    "components/tokens.py", "components/models/*.py", "components/models/quantization/_*.py", "components/tuners/_*.py",
    "components/training/*.py", "components/training/*/_*.py",
)  # fmt: skip
"""Files that decide the weights, beside those of the methods in use."""
WITHOUT_INFLUENCE = {
    *(
        f"components/training/{name}.py"
        for name in (
            "divergence",
            "estimate",
            "intact",
            "page",
            "preload",
            "proofs",
            "report",
            "resuming",
            "signals",
            "trackers",
        )
    ),
    *(f"components/models/{name}.py" for name in ("catalogue", "companions", "fitness")),
}
"""Of these, the files that do not: a run whose report is drawn otherwise goes on from its last checkpoint."""
IN_METHODS = (*FAMILIES, "plugins")
"""Groups of which data/methods.json says what differs from the defaults."""
LIBRARIES = ("torch", "transformers", "peft", "accelerate")


@dataclass(frozen=True)
class Setup:
    """What the parameters come to before a model is loaded.

    Attributes:
        params: those of `train` settled.
        arguments: what args.json of adapters and checkpoints says.
        made_of: all that decides the weights, by name.
    """

    params: Params
    paths: Paths
    arguments: dict[str, Any]
    made_of: dict[str, Any]
    checkpoints: Path
    feed: "Feed | None" = None

    @property
    def resume_from(self) -> Path | None:
        """The checkpoint that the user names, to go on from."""
        return None if self.params.run.resume_only_model else _named(self.params, self.paths)

    @property
    def weights_from(self) -> Path | None:
        """The checkpoint that the user names, to begin a new run with its weights."""
        return _named(self.params, self.paths) if self.params.run.resume_only_model else None


def _named(params: Params, paths: Paths) -> Path | None:
    name = params.run.resume_from_checkpoint
    return paths.workspace / name if name else None


def run(params: Params, paths: Paths, feed: "Feed | None" = None) -> Result:
    """Read data/tokens, or what comes from `feed`, and data/model.json; write models/adapter, reports/train.* and the
    checkpoints. With several processes, this one starts them and waits."""
    setup = set_up(params, paths, feed)

    def say(message: str) -> None:
        progress(paths, "train")({"message": message})
        if not paths.checkpoints:  # a direct command shows the progress itself
            print(message, flush=True)

    with training.held(setup.checkpoints):
        start = training.choose_start(
            setup.checkpoints,
            setup.made_of,
            setup.arguments,
            setup.resume_from,
            say,
            None if paths.checkpoints else setup.checkpoints.parent,
        )
        training.preload().join()
        check_fit(setup, say)
        changes = difference(params).items()
        settings = {name: without_credentials(_text(value)) for name, (_, value) in changes}
        progress(paths, "train")({"settings": settings})
        with training.live_page(paths.log("train") / "progress.jsonl", paths.reports / "train.html"):
            if params.distributed.nproc_per_node == 1:
                return work(setup, start)
            return workers.launch("tasks.stages.train", params, paths, start)


def check_fit(setup: Setup, say: Callable[[str], None]) -> None:
    """Tell what the training needs; the next lines of progress say how long it takes.

    Raises:
        ConfigError: the machine does not have it; the message says what would make it fit.
    """
    rows = estimate.rows_of(setup.params, setup.paths, streamed=setup.feed is not None)
    for line in estimate.require(setup.params, setup.paths, rows):
        say(line)


def check_start(params: Params, paths: Paths, feed: "Feed | None" = None) -> bool:
    """Return whether a run on the tokens of `paths` would go on from its own last step.

    The run goes on from the checkpoint that it names, or from those in its folder.

    Raises:
        ConfigError: it cannot; the message names the settings to put back.
    """
    setup = set_up(params, paths, feed)
    rows = {name: getattr(params, name).model_dump() for name in ("data", "validation")}
    return training.check_start(setup.checkpoints, setup.made_of, setup.arguments, setup.resume_from, rows)


def set_up(params: Params, paths: Paths, feed: "Feed | None" = None) -> Setup:
    """Settle the parameters, and say what the weights will be made of.

    Raises:
        ConfigError: there is no such tuner or method, or the weights to begin with are of another base or tuner.
    """
    files = plugin_files(params, paths.workspace)
    method = tuners.TUNERS.load(params.tuner.tuner_type, files)
    params, classes = _with_classes(training.settled(params, method.LEARNING_RATE), paths)
    arguments = {"model": read_json(paths.model), **{name: getattr(params, name).model_dump() for name in SAVED_GROUPS}}
    if classes:
        arguments["classes"] = classes._asdict()
    methods = read_json(paths.methods)["train"]
    if feed:
        arguments["stream"] = feed.about["arguments"]
    made_of = {
        **{name: values for name, values in arguments.items() if name not in IN_METHODS},
        "parameters": methods["parameters"],
        "methods": methods["files"],
        "data": feed.about["made_of"] if feed else {"tokens": training.tokens_hash(paths.tokens)},
        "code": {file: sha for file, sha in cache.code_files(*CODE).items() if file not in WITHOUT_INFLUENCE},
        "libraries": cache.versions(*LIBRARIES),
    }
    if params.run.resume_only_model and (weights := _named(params, paths)):
        others = {"quantization", params.train.optimizer, *params.train.callbacks}
        groups = {name.removeprefix("parameters ") for name in methods["files"] if name.startswith("parameters ")}
        training.check_weights(weights, arguments, ["tuner", *sorted(groups - others)])
        made_of["weights_from"] = sha256(weights / MANIFEST)
    checkpoints = paths.checkpoints or paths.workspace / ".checkpoints" / training.fingerprint(made_of)
    return Setup(params, paths, arguments, made_of, checkpoints, feed)


def _with_classes(params: Params, paths: Paths) -> tuple[Params, Classes | None]:
    """Return the parameters with a classifier's head among the layers that are saved with an adapter, and the classes
    of the training rows; None for the methods that learn no classes.

    Raises:
        ConfigError: the labels of the rows do not go together.
    """
    if params.method.name != "seq_cls":
        return params, None
    tuner = params.tuner
    saved = [*tuner.modules_to_save, *[HEAD] * (tuner.tuner_type != "full" and HEAD not in tuner.modules_to_save)]
    params = params.model_copy(update={"tuner": tuner.model_copy(update={"modules_to_save": saved})})
    return params, classes_of(TokenRows(paths.tokens / "train.arrow").targets(), params.classification)


def work(setup: Setup, start: Path | None) -> Result:
    """Load, train, save: what each process does. The first one writes; the others return an empty result.

    Raises:
        MartletError: the memory is used up; the message says what needs less.
    """
    with estimate.advised(setup.params, setup.paths, streamed=setup.feed is not None):
        return _work(setup, start)


def _work(setup: Setup, start: Path | None) -> Result:
    job = job_of(setup, start)
    params, paths, rows = setup.params, setup.paths, job.rows
    save = job.save  # while a stream is trained on, its position goes with each checkpoint
    outcome = training.train(job)
    if not ranks.is_writer():
        return {}
    with replacing_folder(paths.adapter) as folder:
        save(job.model, folder)
        job.tokenizer.save_pretrained(folder)
        write_json(folder / "args.json", setup.arguments)
        if outcome.parameters <= training.MAX_CHECKED_PARAMETERS:
            method = tuners.TUNERS.load(params.tuner.tuner_type, job.external)
            probes = [row["input_ids"] for row in training.sample_rows(rows, CHECKED_ROWS)]
            training.check_saved(job.model, method.load(_base_model(setup), folder), probes)
    if not paths.checkpoints:
        training.tidy(setup.checkpoints, outcome.history, job.measure)
    summary = training.write_reports(outcome, paths.reports)
    return {**summary, "seconds": outcome.seconds, "tokens_per_second": outcome.tokens_per_second}


def job_of(setup: Setup, start: Path | None) -> training.Job:
    """Load the model and wrap it; return all that the training is made from."""
    training.preload().join()
    params, paths = setup.params, setup.paths
    identity, files = setup.arguments["model"], plugin_files(params, paths.workspace)
    ranks.take_device()
    base = models.folder(identity, paths.workspace)
    method_of_base = models.quantization_label(base, params.quantization)
    if problems := tuners.quantized_problems(params.tuner.tuner_type, method_of_base, files):
        raise ConfigError("\n".join(problems))
    method = tuners.TUNERS.load(params.tuner.tuner_type, files)
    base_model = _base_model(setup)
    precision = base_model.dtype
    model = method.wrap(base_model, params, params.train.seed)

    if setup.weights_from and not start:
        method.restore(model, setup.weights_from)

    def save(model: Any, folder: Path) -> None:
        method.save(model, folder, base=identity["model"])
        if params.tuner.tuner_type == "full":  # the folder is a model of its own
            models.copy_companions(base, folder)

    rows, val_rows = _datasets(setup)
    return training.Job(
        params=params,
        model=model,
        tokenizer=models.load_tokenizer(base),
        rows=rows,
        val_rows=val_rows,
        checkpoints=setup.checkpoints,
        save=save,
        restore=method.restore,
        initialise=None if setup.weights_from else getattr(method, "initialise", None),
        tuner_step=getattr(method, "step", None),
        penalty=getattr(method, "penalty", None),
        arguments=setup.arguments,
        report=progress(paths, "train"),
        logs=paths.root / "logs" if paths.checkpoints else paths.workspace / "logs" / setup.checkpoints.name,
        made_of=setup.made_of,
        start=start,
        external=files,
        peak_flops=_peak_flops(precision),
    )


def _peak_flops(precision: Any) -> float | None:
    """Return the most operations a second of this machine's GPU in the precision of the weights, if it is known."""
    import torch

    is_half = precision in (torch.bfloat16, torch.float16)
    return hardware.peak_flops(torch.cuda.get_device_name()) if is_half and torch.cuda.is_available() else None


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _base_model(setup: Setup) -> Any:
    """Load the base as it is trained on, quantized or not."""
    params, files = setup.params, plugin_files(setup.params, setup.paths.workspace)
    base, quantization = models.folder(setup.arguments["model"], setup.paths.workspace), params.quantization
    classes = Classes(**setup.arguments["classes"]) if "classes" in setup.arguments else None
    if classes:
        import torch

        torch.manual_seed(params.train.seed)  # the first values of a classifier's head are random
    precision, attention = params.train.torch_dtype, params.train.attn_impl
    headless = params.method.name == "embedding"
    model = models.load_model(base, precision, attention, quantization, files, classes=classes, headless=headless)
    if classes:
        models.set_padding(model, models.load_tokenizer(base))
    return models.prepared(model, quantization, files)


def _datasets(setup: Setup) -> tuple[Any, TokenRows | None]:
    """Return what is trained on and what is evaluated on.

    Raises:
        ConfigError: the tokens are of another shape than the method learns from.
    """
    params, paths, feed = setup.params, setup.paths, setup.feed
    if feed:
        val = feed.validation
        rows: Any = training.Stream(feed.chunks, params.train, params.data.dataset_shuffle)
    else:
        val = paths.tokens / "val.arrow"
        rows = TokenRows(paths.tokens / "train.arrow")
        shape = training.METHODS.load(params.method.name, plugin_files(params, paths.workspace)).SHAPE
        if rows.shape != shape:
            raise ConfigError(
                f"method: {params.method.name} learns from {shape} tokens, and these are {rows.shape}; run the stage "
                "template again"
            )
        if params.train.packing:
            rows = training.Packs(rows, params.train.packing_length, params.train.packing_strategy)
    return rows, TokenRows(val) if val and val.is_file() else None


if __name__ == "__main__":
    if len(sys.argv) > 1:
        workers.work(lambda params, paths, start: work(set_up(params, paths), start))
    else:
        main("train", run)
