"""Streaming: fetch, validate and template in a process of their own, beside the one that trains on what they give.

The rows go through a pipe and never lie on the disk; where training is slower, the pipe holds the data process back. A
run folder then has `data/model.json`, `data/stream/manifest.json` (the sources with the commits of hub ids, to which a
run that goes on keeps) and `reports/stream.json`. Of several processes that train, the pipe leads to rank 0; the data
process of another machine only says what its sources are.
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
from components.errors import ERRORS, MartletError
from components.files import MANIFEST, read_json, write_json
from components.parallel import die_with_parent
from components.tokens import ShapeName
from tasks.stages import fetch, methods, runner, template
from tasks.stages.paths import Paths, plugin_files

STAGE = "stream"
SOURCES = "data/stream"
"""Folder of the manifest that names the sources of a stream."""
STREAMED_METHODS = ("sft", "pt")


def problems(params: Params) -> list[str]:
    """Return what the parameters ask for that a stream cannot do, and what to do instead, a sentence each."""
    data_params, train, sentences = params.data, params.train, []
    datasets, shares = len(data_params.dataset), len(data_params.interleave_prob)
    if params.method.name not in STREAMED_METHODS:
        sentences.append(f"method: {params.method.name} needs its rows in a file; leave --streaming out")
    if train.max_steps <= 0:
        sentences.append(
            "max_steps is needed: a stream has no end, and num_train_epochs says nothing; give --max_steps"
        )
    if data_params.split_dataset_ratio > 0:
        sentences.append("split_dataset_ratio: streamed rows cannot be held out; name others with --val_dataset")
    if data_params.eval_dataset:
        sentences.append("eval_dataset: streamed rows are not compared with it; leave it out")
    if train.group_by_length:
        sentences.append("group_by_length: the lengths are not known before; leave it out, or use --packing true")
    if train.dataloader_num_workers > 0:
        sentences.append("dataloader_num_workers: a stream has a process of its own; leave it at 0")
    if train.packing and 0 < (train.packing_length or 0) < params.template.max_length:
        sentences.append(
            f"packing_length: rows of up to {params.template.max_length} tokens do not fit into packs of "
            f"{train.packing_length}; lower --max_length"
        )
    if shares and shares != datasets:
        sentences.append(f"interleave_prob: {shares} shares for {datasets} datasets; give one for each")
    if params.validation.data_docs:
        sentences.append("data_docs: expectations are held against all rows at once; leave it out")
    return [f"--streaming true: {sentence}" for sentence in sentences]


def of_validation(params: Params, paths: Paths) -> tuple[Params, Paths]:
    """Return the parameters and paths with which fetch, validate and template prepare the validation rows, which lie in
    files."""
    update = {"dataset": params.data.val_dataset, "val_dataset": [], "streaming": False, "interleave_prob": [],
              "dataset_shuffle": params.data.val_dataset_shuffle}  # fmt: skip
    changed = params.model_copy(update={"data": params.data.model_copy(update=update)})
    return changed, Paths(paths.root / "validation", paths.workspace)


class Feed:
    """The data process, and the training's end of the pipe from it. To another process goes the pipe alone.

    Attributes:
        validation: the token file to evaluate on, or None.
    """

    def __init__(self, params: Params, paths: Paths, place: Paths) -> None:
        self.params, self.paths, self.scratch = params, paths, paths.root / "data/shards"
        self.validation = of_validation(params, paths)[1].tokens / "train.arrow" if params.data.val_dataset else None
        self._start("fork", place)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "process"}

    def _start(self, method: str, place: Paths) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        context: Any = get_context(method)
        self.pipe, theirs = context.Pipe()
        arguments = self.params, self.paths, place, self.scratch, theirs, self.pipe
        self.process: BaseProcess = context.Process(target=_flow, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def restart(self) -> None:
        """Begin again with a new process, for a training that does: what is in the pipe was for the one before.

        The process is spawned: this one has threads by now, which do not survive a fork.
        """
        self.end()
        self._start("spawn", self.paths)
        self.about = self._receive()

    def end(self) -> None:
        """End the data process."""
        self.pipe.close()
        self.process.kill()
        self.process.join()
        shutil.rmtree(self.scratch, ignore_errors=True)

    @cached_property
    def about(self) -> dict[str, Any]:
        """The data process's first message, which comes when its sources are resolved: `datasets`, as a manifest
        describes them, `arguments`, which a run that goes on must share, and `made_of`, all that decides the tokens."""
        return self._receive()

    def chunks(self, state: training.State | None) -> Iterator[training.Chunk]:
        """Yield the chunks from a state on, for ever, and tell in reports/stream.json of the rows up to there.

        Raises:
            MartletError: what went wrong in the data process, or that it died.
        """
        assert self.about  # the first message has to be taken from the pipe first
        with suppress(OSError):  # the process has died, which the next message will tell
            self.pipe.send(state)
        while True:
            chunk, report = self._receive()
            self._write_report(report)
            yield chunk

    def _receive(self) -> Any:
        try:
            kind, *message = self.pipe.recv()
        except (EOFError, OSError):
            raise MartletError(
                "stream: the process that reads and tokenises the data has died, perhaps because memory ran out"
            ) from None
        if kind == "failed":
            code, words, report = message
            if report["rows"]:
                self._write_report(report)
            raise ERRORS[code](words)
        return message[0] if len(message) == 1 else message

    def _write_report(self, report: dict[str, Any]) -> None:
        write_json(self.paths.reports / "stream.json", report)


@contextmanager
def flowing(params: Params, paths: Paths, place: Paths) -> Generator[Feed]:
    """Start the data process, before any thread of a library is started; the process has ended when the block is left.

    The process writes its files below `place`, and its log below `paths` once the training has asked for rows.
    """
    feed = Feed(params, paths, place)
    try:
        yield feed
    finally:
        feed.end()


def _flow(params: Params, paths: Paths, place: Paths, scratch: Path, pipe: Connection, other: Connection) -> None:
    """The data process: works until the pipe is closed. Ctrl-C is for the trainer, which writes a checkpoint first."""
    other.close()
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.environ["RAYON_NUM_THREADS"] = str(params.run.dataset_num_proc or 1)
    counts = data.GateCounts()
    tokens = _tokens(params, place, data.recorded_commits(paths.root / SOURCES), scratch, pipe, counts)

    def body(_params: Params, _paths: Paths) -> runner.Result:
        try:
            next(tokens, None)
        except (BrokenPipeError, ConnectionResetError, EOFError):
            os._exit(0)  # the trainer is gone, and a download that is under way is for nobody
        return {}

    try:
        runner.run(STAGE, body, params, place)
        pipe.poll(None)
        runner.run(STAGE, body, params, paths)
    except MartletError as error:
        with suppress(OSError):
            pipe.send(("failed", error.exit_code, str(error), counts.saved()))


def _tokens(
    params: Params, place: Paths, commits: dict[str, str], scratch: Path, pipe: Connection, counts: data.GateCounts
) -> Generator[None]:
    """Write the files of the stream below `place` and send the message of `Feed.about`; after the first `next`, send
    the chunks from the state on that the trainer sends."""
    scratch.mkdir(parents=True)
    write_json(place.model, fetch.identity(params, place))
    write_json(place.methods, methods.used(params, place.workspace))
    custom = fetch.custom_files(params, place)
    plugins, use_hf = plugin_files(params, place.workspace), params.data.use_hf
    sources = data.resolve(params.data.dataset, place.workspace, use_hf, commits, None, custom, plugins)
    stream = data.RowStream(sources, params.data, scratch)
    write_json(place.root / SOURCES / MANIFEST, {"sources": stream.described})
    model = models.folder(read_json(place.model), place.workspace)
    gate = data.StreamingGate(params.validation, model)
    encode = _Encoding(params, place)
    pipe.send(("about", _about(params, place, stream)))
    yield

    state: dict[str, Any] = pipe.recv() or {"position": None, "tally": counts.saved(), "number": 0, "fast": True}
    counts.restore(state["tally"])
    encode.fast, number = state["fast"], state["number"]
    start = data.StreamPosition(*state["position"]) if state["position"] else None
    for position, rows, pass_ends in stream.chunks(start):
        state = {"position": list(position), "tally": counts.saved(), "number": number, "fast": encode.fast}
        tokens = encode(gate(rows, counts), counts)
        counts.check_limits(params.validation.max_dropped, pass_ends)
        chunk = training.Chunk(tokens, number, position.epoch, state)
        pipe.send(("chunk", chunk, counts.saved()))
        number += 1


class _Encoding:
    """Encodes the rows that the gate lets pass; `fast` says whether fastokens still agrees with the tokenizer."""

    def __init__(self, params: Params, paths: Paths) -> None:
        self.chat, self.settings = template.chat_template(params, paths), params.template
        self.shape: ShapeName = template.shape(paths)
        self.fast, self.encoder = True, None

    def __call__(self, rows: list[tuple[data.RawRow, dict[str, Any]]], counts: data.GateCounts) -> Any:
        if self.encoder is None:
            limits = self.settings.max_length, self.settings.truncation_strategy
            self.encoder = templates.Encoder(self.chat, self.shape, *limits, self.fast, weighted=True)
        self.encoder.distrust()
        try:
            raw = [item for item, _ in rows]
            batch = self.encoder([row for _, row in rows], [r.source for r in raw], [r.number for r in raw])
        except templates.FastTokenizerDiffersError:
            self.fast, self.encoder = False, None
            return self(rows, counts)
        for index, refusal in sorted(batch.refused.items()):
            words = f"{refusal.reason} ({refusal.detail})" if refusal.detail else refusal.reason
            counts.leave_out(f"template: {refusal.reason}", rows[index][0], words)
        counts.samples += len(batch.owners)
        return batch.tokens


def _about(params: Params, paths: Paths, stream: data.RowStream) -> dict[str, Any]:
    """Return the message of `Feed.about`. A local file goes by its size and time: hashing what fits on no disk would
    take hours."""
    names = ("dataset", "data_seed", "dataset_shuffle", "shuffle_buffer_size", "interleave_prob", "stopping_strategy")
    arguments = {name: getattr(params.data, name) for name in names}
    arguments["revisions"] = [source.version if source.hub else None for source in stream.sources]
    stats = [(name, path.stat()) for source in stream.sources for path, name in source.files]
    made_of = {
        "files": [[name, status.st_size, status.st_mtime_ns] for name, status in stats],
        "data": params.data.model_dump(),
        "validation": params.validation.model_dump(),
        "template": template.recipe(params, paths),
        "code": cache.code("components.data", "components.rows", "tasks.stages.stream"),
    }
    return {"datasets": stream.described, "arguments": arguments, "made_of": made_of}
