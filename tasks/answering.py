"""Settings of a command's answers, and the answers to a file of questions."""

import json
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from components.config import Params
from components.errors import ConfigError, DataGateError
from components.files import replacing, sha256_of
from components.inference import GenerationConfig, LocalEngine, RequestError, infer_dataset
from components.media import COLUMNS
from components.rows import Message, Row, label_of
from components.templates.grounding import TAG
from tasks.stages.paths import plugin_files

MEDIA = ".martlet/media"
"""Folder of the media of rows that are no files of their own."""
MAX_NEW_TOKENS = 512
"""Longest answer of `infer` in tokens where none is given."""


def generation_config(params: Params) -> GenerationConfig:
    """Return the generation settings of `infer`."""
    generation = generation_settings(params)
    return replace(generation, max_new_tokens=generation.max_new_tokens or MAX_NEW_TOKENS)


def generation_settings(params: Params) -> GenerationConfig:
    """Return the generation settings among the parameters."""
    settings = params.generation.model_dump(exclude={"infer_backend", "max_batch_size", "max_model_len"})
    return GenerationConfig(**settings)


def answer_files(
    engine: LocalEngine, params: Params, identity: Any, on_progress: Callable[[int, int], None]
) -> tuple[int, int, Path]:
    """Answer the rows of `--val_dataset` into `--result_path`; return the number of rows, how many of them could not be
    answered, and the file.

    Answers are kept beside the file until all are there; the same command after an interruption goes on behind them.

    Args:
        identity: what the answers depend on beside rows and settings, as JSON: the model.
        on_progress: gets the numbers of answers so far, and of rows.

    Raises:
        RequestError: not one row could be answered.
    """
    import orjson

    result, rows, settings = result_file(params).resolve(), questions(params), generation_config(params)
    media = params.multimodal.model_dump()
    part = result.with_name(f"{result.name}.part")
    answers = _answers_in(part, header := sha256_of([identity, rows, asdict(settings), media]).encode())
    with part.open("wb") as stream:
        stream.writelines([header + b"\n", *answers])
        for answer in infer_dataset(engine, rows[len(answers) :], settings):
            answers.append(orjson.dumps(answer) + b"\n")
            stream.write(answers[-1])
            stream.flush()
            on_progress(len(answers), len(rows))
    errors = [row["error"] for row in map(orjson.loads, answers) if "error" in row]
    if errors and len(errors) == len(rows):
        part.unlink()
        raise RequestError(f"no row could be answered; the first: {errors[0]}")
    with replacing(result) as temporary:
        temporary.write_bytes(b"".join(answers))
    part.unlink()
    return len(rows), len(errors), result_file(params)


def _answers_in(part: Path, header: bytes) -> list[bytes]:
    """Return the whole lines of answers that an interrupted command with the same `header` has left."""
    lines = part.read_bytes().splitlines(keepends=True) if part.is_file() else []
    if not lines or lines[0] != header + b"\n":
        return []
    return [line for line in lines[1:] if line.endswith(b"\n")]


def result_file(params: Params) -> Path:
    """Return the file for the answers.

    Raises:
        ConfigError: it cannot be written, is no ordinary file, or holds the questions.
    """
    result = Path(params.run.result_path or "result.jsonl")
    if result.exists() and not result.is_file():
        raise ConfigError(f"--result_path {result}: not a file")
    if result.resolve() in (Path(name).resolve() for name in params.data.val_dataset):
        raise ConfigError(f"--result_path {result}: holds the questions; name another file")
    try:
        result.resolve().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--result_path {result}: its folder cannot be made: {error.strerror}") from error
    return result


def _of_text(row: Row) -> list[dict[str, str]]:
    """Return a plain text as a message, or nothing: what a classifier or an embedding reads."""
    return [{"role": "user", "content": row["text"]}] if "text" in row else []


def asking_rows(
    params: Params, specs: list[str], workspace: Path, texts: bool = False, with_media: bool = False
) -> Iterator[tuple[Row, dict[str, Any], list[Message]]]:
    """Yield the rows of datasets, in order: canonical, as it was written, and the messages that ask something, with the
    system prompt where the row has none. With `texts` a plain text is a message as well, and `with_media` rows may have
    media, as references.

    Raises:
        DataGateError: a row is in no known format, has no messages, or has media that are not wanted or not there.
    """
    from components import data

    as_written = {"dataset_shuffle": False, "split_dataset_ratio": 0.0, "interleave_prob": []}
    settings = params.data.model_copy(update=as_written)
    memo, plugins = workspace / ".martlet/fetch.json", plugin_files(params, workspace)
    sources = data.resolve(specs, workspace, params.data.use_hf, {}, memo, plugins=plugins)
    collection = data.collect_rows(sources, [], settings, Path(tempfile.gettempdir()))
    system = params.template.system
    table, folder = collection.tables["train"], workspace / MEDIA
    store = (
        data.media.MediaStore(folder, workspace / ".martlet/media.json", workspace, settings) if with_media else None
    )
    for source, number, raw in table.rows(store):
        try:
            row = data.read_row(raw)
        except ValueError as error:
            raise DataGateError(f"{data.row_location(source, number)}: {error}") from error
        messages = row.get("messages") or row.get("prompt") or (_of_text(row) if texts else [])
        columns = {name: row[name] for name in COLUMNS.values() if row.get(name)}
        where = data.row_location(source, number)
        if columns and not with_media:
            raise DataGateError(f"{where}: its media would not be shown to the model")
        row |= {name: [_placed(value, folder, where) for value in values] for name, values in columns.items()}
        if not messages:
            raise DataGateError(f"{where}: asks nothing; a row needs messages or a query")
        if row.get("objects") and any(map(TAG.search, (m["content"] for m in messages))):
            raise DataGateError(
                f"{where}: <bbox> and <ref-object> are written out in trainings alone; write what the model was taught"
            )
        if system is not None and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": system}, *messages]
        yield row, json.loads(raw), messages
    if store:
        store.hashes.save()
        with suppress(OSError):  # it holds media
            folder.rmdir()


def _placed(value: Any, folder: Path, where: str) -> Any:
    """Return a reference with its whole path, or the references of a video's frames.

    Raises:
        DataGateError: the medium is not there.
    """
    if isinstance(value, list):
        return [_placed(frame, folder, where) for frame in value]
    if "problem" in value:
        raise DataGateError(f"{where}: {value['path']}: {value['problem']}")
    return value | {"path": str(folder / value["path"])}


def media_address(params: Params) -> Callable[[str], str]:
    """Return a function from what somebody types for a medium to its whole path, or to a data URI of what is
    downloaded.

    The function raises:
        ConfigError: there is no such file, or URLs are not to be downloaded.
    """

    def address(typed: str) -> str:
        if not typed.lower().startswith(("http://", "https://", "data:")):
            path = Path(typed).expanduser().absolute()
            if not path.is_file():
                raise ConfigError(f"{typed}: no such file")
            return str(path)
        if typed[:5].lower() == "data:":
            return typed
        if not params.data.download_media:
            raise ConfigError(f"{typed[:100]}: is not downloaded without --download_media true")
        from components.data.media.downloads import download

        return f"data:;base64,{b64encode(download(typed)).decode()}"

    return address


def questions(params: Params, texts: bool = False) -> list[Row]:
    """Return the rows of `--val_dataset`, in order: `messages`, with the system prompt where a row has none, `label`
    (None without one), and where the row has them `tools`, `chat_template_kwargs`, media, the `completion` that was
    judged, and the `anchor` of a judged pair, whose message is both texts. With `texts` a plain text is a message as
    well, and no row has media.

    Raises:
        DataGateError: as `asking_rows`.
    """
    rows: list[Row] = []
    names = ("tools", "chat_template_kwargs", "completion", *COLUMNS.values())
    for row, _, messages in asking_rows(params, params.data.val_dataset, Path.cwd(), texts, with_media=not texts):
        beside = {name: row[name] for name in names if name in row}
        if "anchor" in (extra := row.get("extra", {})):  # the text of a pair that an embedding reads alone
            beside["anchor"] = extra["anchor"]
        rows.append({"messages": messages, "label": label_of(row), **beside})  # which a classifier should tell
    return rows
