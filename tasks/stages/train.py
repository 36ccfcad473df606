"""Train an adapter (or all weights) on the tokens; goes on from where it was stopped."""

from functools import partial
from typing import TYPE_CHECKING

from components import models, training, tuners
from components.config import Params
from components.files import read_json, replacing_folder, write_json
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main, progress

if TYPE_CHECKING:
    from tasks.stages.stream import Feed

CHECKED_UP_TO = 1_000_000_000
"""Parameters up to which the saved adapter is loaded onto a second copy of the base and compared."""


def run(params: Params, paths: Paths, feed: "Feed | None" = None) -> Result:
    """Read data/tokens, or what comes from `feed`, and data/model.json; write models/adapter, reports/train.* and the
    checkpoints."""
    training.preload().join()
    method = tuners.tuner(params.tuner.train_type)
    settings = training.settled(params.train, method.DEFAULT_LEARNING_RATE, params.template.max_length)
    identity = read_json(paths.model)
    arguments = {
        "model": identity,
        "template": params.template.model_dump(),
        "tuner": params.tuner.model_dump(),
        "train": settings.model_dump(),
    }
    if feed:
        arguments["stream"] = feed.about["arguments"]
        inputs = training.fingerprint(arguments, feed.about["made_of"])
        tokens = training.Stream(feed.chunks, settings, params.data.dataset_shuffle, feed.validation)
    else:
        inputs = training.fingerprint(arguments, training.tokens_hash(paths.tokens))
        tokens = paths.tokens
    checkpoints = paths.checkpoints or paths.workspace / ".checkpoints" / inputs
    resumed = params.run.resume_from_checkpoint

    base = models.folder(identity, paths.workspace)
    tokenizer = models.load_tokenizer(base)
    load = partial(models.load_model, base, settings.torch_dtype, settings.attn_impl)
    model = method.wrap(load(), params.tuner, settings.seed)
    save = partial(method.save, base=identity["model"])
    outcome = training.train(
        model,
        tokenizer,
        tokens,
        settings,
        checkpoints,
        save,
        arguments,
        progress(paths, "train"),
        run=inputs,
        resume_from=paths.workspace / resumed if resumed else None,
    )
    with replacing_folder(paths.adapter) as folder:
        save(model, folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / "args.json", arguments)
        if outcome.parameters <= CHECKED_UP_TO:
            seen = tokens.samples if isinstance(tokens, training.Stream) else training.Rows(tokens / "train.arrow")
            training.check_saved(model, method.load(load(), folder), seen)
    if not paths.checkpoints:
        training.tidy(checkpoints, outcome.history)
    summary = training.write_reports(outcome, paths.reports)
    return {**summary, "seconds": outcome.seconds, "tokens_per_second": outcome.tokens_per_second}


if __name__ == "__main__":
    main("train", run)
