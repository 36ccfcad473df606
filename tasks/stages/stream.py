"""fetch, validate and template for rows that pass by, in a process beside the one that trains on them.

Nothing lies between these stages but the pipe from one process to the other, which holds back the first. A run folder
then has `data/model.json`, `data/stream/manifest.json` (the sources, with the commits of hub ids, which a run that goes
on keeps to) and `reports/stream.json`.
"""

import os
import shutil
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from components import cache, data, models, templates, training
from components.config import Params
from components.errors import ConfigError, DataGateError, MartletError
from components.files import MANIFEST, read_json, write_json
from tasks.stages import fetch, runner, template
from tasks.stages.paths import Paths

STAGE = "stream"
KINDS = {kind.exit_code: kind for kind in (ConfigError, DataGateError)}


def problems(params: Params) -> list[str]:
    """What the parameters ask for that a stream cannot do, and what to do instead."""
    asked, train = params.data, params.train
    found = {
        "max_steps is needed: a stream has no end, and num_train_epochs says nothing; give --max_steps":
            train.max_steps <= 0,
        "split_dataset_ratio: rows that pass by cannot be held out; name others with --val_dataset":
            asked.split_dataset_ratio > 0,
        "eval_dataset: rows that pass by are not compared with it; leave it out":
            bool(asked.eval_dataset),
        "group_by_length: the lengths are not known before; leave it out, or use --packing true":
            train.group_by_length,
        "dataloader_num_workers: a stream has a process of its own; leave it at 0":
            train.dataloader_num_workers > 0,
        f"packing_length: rows of up to {params.template.max_length} tokens do not fit into packs of "
        f"{train.packing_length}; lower --max_length":
            train.packing and 0 < (train.packing_length or 0) < params.template.max_length,
        f"interleave_prob: {len(asked.interleave_prob)} shares for {len(asked.dataset)} datasets; give one for each":
            bool(asked.interleave_prob) and len(asked.interleave_prob) != len(asked.dataset),
        "data_docs: expectations are held against all rows at once; leave it out":
            params.validation.data_docs,
    }  # fmt: skip
    return [f"--streaming true: {problem}" for problem, there in found.items() if there]


def held_out(params: Params, paths: Paths) -> tuple[Params, Paths]:
    """What fetch, validate and template are to be run with for the validation rows, which do not pass by."""
    kept = {"dataset": params.data.val_dataset, "val_dataset": [], "streaming": False, "interleave_prob": [],
            "dataset_shuffle": params.data.val_dataset_shuffle}  # fmt: skip
    changed = params.model_copy(update={"data": params.data.model_copy(update=kept)})
    return changed, Paths(paths.root / "validation", paths.workspace)


class Feed:
    """The end of the pipe at which chunks of tokens come out."""

    def __init__(self, process: BaseProcess, pipe: Connection, validation: Path | None) -> None:
        self.process, self.pipe, self.validation = process, pipe, validation
        self.report: dict[str, Any] = {}
        """What of the rows so far was left out, for reports/stream.json."""

    @cached_property
    def about(self) -> dict[str, Any]:
        """Wait for the process to find its sources: `datasets`, as a manifest describes them, `arguments`, which a run
        that goes on must share, and `made_of`, all that decides the tokens."""
        return self._receive()

    def chunks(self, state: training.State | None) -> Iterator[training.Chunk]:
        """The chunks from a state on, for ever.

        Raises:
            MartletError: what went wrong in the other process, or that it died.
        """
        assert self.about  # is what comes first
        with suppress(OSError):  # it has died, as will be seen
            self.pipe.send(state)
        while True:
            chunk, self.report = self._receive()
            yield chunk

    def _receive(self) -> Any:
        try:
            kind, *message = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            raise MartletError(
                f"stream: the process that reads and tokenises the data has died (exit code {self.process.exitcode}"
                f"{'; it may have been killed for its memory' if self.process.exitcode == -9 else ''}); run again to "
                "go on from the last checkpoint"
            ) from None
        if kind == "failed":
            code, words, self.report = message
            raise KINDS.get(code, MartletError)(words)
        return message[0] if len(message) == 1 else message


@contextmanager
def flowing(params: Params, paths: Paths) -> Generator[Feed]:
    """Start the process, which must be before threads are; it has ended when the block is left.

    reports/stream.json then tells of the rows that were trained on, and of those of a gate that has closed.
    """
    scratch = paths.root / "data/shards"
    shutil.rmtree(scratch, ignore_errors=True)
    context = get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_flow, args=(params, paths, scratch, theirs, ours), daemon=True)
    process.start()
    theirs.close()
    validation = held_out(params, paths)[1].tokens / "train.arrow" if params.data.val_dataset else None
    feed = Feed(process, ours, validation)
    try:
        yield feed
    finally:
        process.kill()
        process.join()
        shutil.rmtree(scratch, ignore_errors=True)
        if feed.report:
            write_json(paths.reports / "stream.json", feed.report)


def _flow(params: Params, paths: Paths, scratch: Path, pipe: Connection, other: Connection) -> None:
    """In the other process, until the pipe is closed; ctrl-C is for the trainer, which writes a checkpoint first."""
    other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.environ["RAYON_NUM_THREADS"] = str(params.run.dataset_num_proc or 1)
    tally = data.GateCounts()

    def body(params: Params, paths: Paths) -> runner.Result:
        try:
            _tokens(params, paths, scratch, pipe, tally)
        except (BrokenPipeError, ConnectionResetError, EOFError):
            os._exit(0)  # the trainer is gone, and a download that is under way is for nobody
        return {}

    try:
        runner.run(STAGE, body, params, paths)
    except MartletError as error:
        with suppress(OSError):
            pipe.send(("failed", error.exit_code, str(error), tally.saved()))


def _tokens(params: Params, paths: Paths, scratch: Path, pipe: Connection, tally: data.GateCounts) -> None:
    scratch.mkdir(parents=True)
    write_json(paths.model, fetch.identity(params, paths))
    kept, custom = paths.root / "data/stream", fetch.custom_files(params, paths)
    recorded = data.recorded_commits(kept)
    sources = data.resolve(params.data.dataset, paths.workspace, params.data.use_hf, recorded, None, custom)
    stream = data.RowStream(sources, params.data, scratch)
    write_json(kept / MANIFEST, {"sources": stream.described})
    model = models.folder(read_json(paths.model), paths.workspace)
    gate = data.StreamingGate(params.validation, model)
    encode = _Encoding(params, paths)
    pipe.send(("about", _about(params, paths, stream)))

    state: dict[str, Any] = pipe.recv() or {"position": None, "tally": tally.saved(), "number": 0, "fast": True}
    tally.restore(state["tally"])
    encode.fast, number = state["fast"], state["number"]
    start = data.StreamPosition(*state["position"]) if state["position"] else None
    for position, items, ends in stream.chunks(start):
        state = {"position": list(position), "tally": tally.saved(), "number": number, "fast": encode.fast}
        samples = encode(gate(items, tally), tally)
        tally.check_limits(params.validation.max_dropped, ends)
        chunk = training.Chunk(
            samples.ids, samples.labels, samples.weights, samples.offsets, number, position.epoch, state
        )
        pipe.send(("chunk", chunk, tally.saved()))
        number += 1


class _Encoding:
    """Rows to tokens; `fast` is whether the fast tokenizer still agrees with the exact one."""

    def __init__(self, params: Params, paths: Paths) -> None:
        self.chat, self.asked = template.chat_template(params, paths), params.template
        self.fast, self.encoder = True, None

    def __call__(self, rows: list[tuple[data.RawRow, dict[str, Any]]], tally: data.GateCounts) -> Any:
        if self.encoder is None:
            asked = self.asked
            self.encoder = templates.Encoder(self.chat, asked.max_length, asked.truncation_strategy, self.fast)
        self.encoder.distrust()
        try:
            samples = self.encoder([row for _, row in rows])
        except templates.FastTokenizerDiffersError:
            self.fast, self.encoder = False, None
            return self(rows, tally)
        for index, refused in sorted(samples.refused.items()):
            words = f"{refused.reason} ({refused.detail})" if refused.detail else refused.reason
            tally.leave_out(f"template: {refused.reason}", rows[index][0], words)
        tally.samples += len(samples.owners)
        return samples


def _about(params: Params, paths: Paths, stream: data.RowStream) -> dict[str, Any]:
    """A local file is known by its size and time: to hash what fits on no disk would take hours."""
    names = ("dataset", "data_seed", "dataset_shuffle", "shuffle_buffer_size", "interleave_prob", "stopping_strategy")
    arguments = {name: getattr(params.data, name) for name in names}
    arguments["revisions"] = [source.version if source.hub else None for source in stream.sources]
    files = [(name, path.stat()) for source in stream.sources for path, name in source.files]
    made_of = {
        "files": [(name, found.st_size, found.st_mtime_ns) for name, found in files],
        "data": params.data.model_dump(),
        "validation": params.validation.model_dump(),
        "template": template.recipe(params, paths),
        "code": cache.code("components.data", "components.rows", "tasks.stages.stream"),
    }
    return {"datasets": stream.described, "arguments": arguments, "made_of": made_of}
