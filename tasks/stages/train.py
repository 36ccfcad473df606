"""Train an adapter (or all weights) on the tokens; goes on from where it was stopped."""

from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import cache, figures, hardware, media, models, training, tuners
from components.config import Params, difference
from components.errors import ConfigError, without_credentials
from components.files import replacing_folder
from components.tokens import TokenRows
from components.training import ranks
from tasks.stages import estimate, judgements, workers
from tasks.stages.devices import devices_of
from tasks.stages.paths import Paths, plugin_files
from tasks.stages.runner import Result, main, progress
from tasks.stages.setup import Setup, set_up

if TYPE_CHECKING:
    from tasks.stages.stream import Feed

CHECKED_ROWS = 4
REFERENCE_CODE = [f"components.training.{name}" for name in ("answer_batch", "forward", "isolation", "reference")]
"""Modules that decide the log probabilities of a reference model."""


def run(params: Params, paths: Paths, feed: "Feed | None" = None) -> Result:
    """Read data/tokens, or what comes from `feed`, and data/model.json; write models/adapter, reports/train.* and the
    checkpoints. With several processes, this one starts those of this machine and waits."""
    setup = set_up(params, paths, feed)
    workers.warm_up(setup.params)

    def say(message: str) -> None:
        progress(paths, "train")({"message": message})
        if not paths.checkpoints:  # a direct command shows the progress itself
            print(message, flush=True)

    if setup.params.distributed.node_rank:
        training.preload().join()
        check_fit(setup, say)
        return workers.follow(work, setup, say)
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
        for line in judgements.balance(params, paths) if params.method.name == "kto" else ():
            say(line)
        changes = difference(params).items()
        settings = {name: without_credentials(_text(value)) for name, (_, value) in changes}
        progress(paths, "train")({"settings": settings})
        with training.live_page(paths.log("train") / "progress.jsonl", paths.reports / "train.html"):
            if training.is_launched(setup.params):
                return workers.launch(work, setup, start, say)
            return work(setup, start)


def check_fit(setup: Setup, say: Callable[[str], None]) -> None:
    """Tell what the training needs; the next lines of progress say how long it takes.

    Raises:
        ConfigError: the machine does not have it; the message says what would make it fit.
    """
    rows, devices = estimate.rows_of(setup), devices_of(setup.params, is_plan=False)
    for line in estimate.require(setup.params, setup.paths, rows, devices):
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


def work(setup: Setup, start: Path | None) -> Result:
    """Load, train, save: what each process does. The first one writes; the others return an empty result.

    Raises:
        MartletError: the memory is used up; the message says what needs less.
    """
    with estimate.advised(setup):
        return _work(setup, start)


def _work(setup: Setup, start: Path | None) -> Result:
    job = job_of(setup, start)
    params, paths, rows = setup.params, setup.paths, job.rows
    save = job.save  # while a stream is trained on, its position goes with each checkpoint
    with closing(job.rollouts) if job.rollouts else nullcontext():
        outcome = training.train(job)
    is_checked = outcome.parameters <= training.MAX_CHECKED_PARAMETERS
    probes: list[Any] = [row["input_ids"] for row in training.sample_rows(rows, CHECKED_ROWS)] if is_checked else []
    if is_checked and (probe := training.media_probe(job)):
        probes.append(probe)
    answers = training.answers(job.model, probes)
    with replacing_folder(paths.adapter) if ranks.is_writer() else nullcontext(paths.adapter) as folder:
        training.write_model(job, folder, save)
        if not ranks.is_writer():
            return {}
        if is_checked:
            method = tuners.TUNERS.load(params.tuner.tuner_type, job.external)
            base = job.model if params.tuner.tuner_type == "full" else _base_model(setup, {})
            training.check_saved(answers, method.load(base, folder), probes, job.model.dtype)
    if not paths.checkpoints:
        training.tidy(setup.checkpoints, outcome.history, job.measure)
    summary = training.write_reports(outcome, paths.reports)
    details = set(figures.names_in(outcome.history)) - figures.SHORT.keys()
    shown = {name: value for name, value in summary.items() if name.removeprefix("eval_") not in details}
    return {**shown, "seconds": outcome.seconds, "tokens_per_second": outcome.tokens_per_second}


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
    with training.engine_of(params).loading(params) as placement:
        base_model = _base_model(setup, placement)
    precision = base_model.dtype
    model = method.wrap(base_model, params, params.train.seed)

    if setup.weights_from:  # also where the run goes on: they are those of the reference model
        method.restore(model, setup.weights_from)

    def save(model: Any, folder: Path, **weights: Any) -> None:
        method.save(model, folder, base=identity["model"], **weights)
        if params.tuner.tuner_type == "full":  # the folder is a model of its own
            models.copy_companions(base, folder)

    rows, val_rows = _datasets(setup)
    tokenizer = models.load_tokenizer(base)
    has_media = any(getattr(table, "has_media", False) for table in (rows, val_rows))
    processor = media.load_processor(base, params.multimodal, paths.media) if has_media else None
    return training.Job(
        params=params,
        model=model,
        tokenizer=tokenizer,
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
        processor=processor,
        **_beside(setup, tokenizer, processor),
        reference_of=_reference_of(setup, precision),
        peak_flops=_peak_flops(precision),
    )


def _shape(setup: Setup) -> str:
    """Return the shape of tokens that the method learns from."""
    return training.METHODS.load(setup.params.method.name, plugin_files(setup.params, setup.paths.workspace)).SHAPE


def _beside(setup: Setup, tokenizer: Any, processor: media.MediaProcessor | None) -> dict[str, Any]:
    """Return by name what a job has of other models: what samples and judges answers, a teacher, and what loads a
    reference model. The modules are named, not imported: data/methods.json has them where they decide anything."""
    params, workspace, beside = setup.params, setup.paths.workspace, dict[str, Any]()
    files, say = plugin_files(params, workspace), _teller(setup)
    named = dict(import_module("tasks.stages.beside").names(params))

    def text_model(flag: str) -> Any:
        load = import_module("tasks.stages.text_models").text_model
        return load(flag, named[flag], params, workspace, tokenizer, say)

    if "ref_model" in named:
        beside["reference"] = partial(text_model, "ref_model")
    if params.method.name == "gkd":
        local = import_module("tasks.stages.rollouts").LocalRollouts
        beside["teacher"] = text_model("teacher_model")
        beside["rollouts"], beside["teacher_rollouts"] = (
            local(params, tokenizer, files, processor=processor) for _ in range(2)
        )
    elif params.method.rlhf_type and _shape(setup) == "prompt":  # a plugin's method has an engine of its own
        judges = import_module("tasks.stages.reward_models").rewards_of(params, workspace, say)
        if params.rollout.use_vllm and processor:
            raise ConfigError("use_vllm: prompts with media are answered by the built-in engine; leave it out")
        if params.rollout.use_vllm:
            base = models.folder(setup.arguments["model"], workspace)
            engine = partial(import_module("tasks.stages.vllm_rollouts").VllmRollouts, base=base)
        else:
            engine = partial(import_module("tasks.stages.rollouts").LocalRollouts, processor=processor)
        beside["rollouts"] = engine(params, tokenizer, files, judges)
    return beside


def _teller(setup: Setup) -> Callable[[str], None]:
    """Return a function that reports a message."""
    return lambda message: progress(setup.paths, "train")({"message": message})


def _reference_of(setup: Setup, precision: Any) -> dict[str, Any]:
    """Return what decides the log probabilities of the model as the training begins, by name."""
    return {
        "data": setup.made_of["data"],
        "model": setup.arguments["model"],
        "ref_model": setup.made_of["methods"].get(f"model {setup.params.preference.ref_model}"),
        "weights_from": setup.made_of.get("weights_from"),
        "tuner": setup.arguments["tuner"],
        "parameters": {k: v for k, v in setup.made_of["parameters"].items() if not k.startswith("preference.")},
        "seed": setup.params.train.seed,
        "precision": str(precision),
        "attn_impl": setup.params.train.attn_impl,
        "answers": setup.params.method.name == "kto",
        "code": cache.code(*REFERENCE_CODE),
        "libraries": setup.made_of["libraries"],
    }


def _peak_flops(precision: Any) -> float | None:
    """Return the most operations a second of this machine's GPU in the precision of the weights, if it is known."""
    import torch

    is_half = precision in (torch.bfloat16, torch.float16)
    return hardware.peak_flops(torch.cuda.get_device_name()) if is_half and torch.cuda.is_available() else None


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _base_model(setup: Setup, placement: dict[str, Any]) -> Any:
    """Load the base as it is trained on, quantized or not, onto the devices of `placement`."""
    params, files = setup.params, plugin_files(setup.params, setup.paths.workspace)
    base, quantization = models.folder(setup.arguments["model"], setup.paths.workspace), params.quantization
    classes = setup.classes
    if classes:
        import torch

        torch.manual_seed(params.train.seed)  # the first values of a classifier's head are random
    precision, attention = params.train.torch_dtype, params.train.attn_impl
    headless = params.method.name == "embedding"
    model = models.load_model(base, precision, attention, quantization, files, placement, classes, headless)
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
        shape = _shape(setup)
        if rows.shape != shape:
            raise ConfigError(
                f"method: {params.method.name} learns from {shape} tokens, and these are {rows.shape}; run the stage "
                "template again"
            )
        if rows.has_media:
            _require_lines(params)
        if params.train.packing:
            rows = training.Packs(rows, params.train.packing_length, params.train.packing_strategy)
    return rows, TokenRows(val) if val and val.is_file() else None


def _require_lines(params: Params) -> None:
    """Check that rows with media may be lines of their own.

    Raises:
        ConfigError: the parameters ask for lines that rows share, or for rows that processes share.
    """
    train, parts = params.train, params.distributed.sequence_parallel_size
    for name, is_set in (
        ("packing", train.packing),
        ("padding_free", train.padding_free),
        ("sequence_parallel_size", parts > 1),
    ):
        if is_set:
            raise ConfigError(
                f"{name}: rows with media are lines of their own; leave it out, and use --group_by_length true"
            )


if __name__ == "__main__":
    main("train", run)
