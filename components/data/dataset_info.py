"""LLaMA-Factory's `dataset_info.json`: a name for each dataset, where it lies, what its columns and roles are called.

The keys are those of https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md; a file is read as it is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from components.data.entry import Entry, Raw
from components.errors import ConfigError, did_you_mean

_KINDS: dict[str, type] = {
    **dict.fromkeys(("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name", "file_name"), str),
    **dict.fromkeys(("file_sha1", "formatting", "subset", "split", "folder", "revision"), str),
    "ranking": bool,
    "num_samples": int,
    "columns": dict,
    "tags": dict,
}
_TYPE_NAMES = {str: "a text", bool: "true or false", int: "a whole number", dict: "an object"}
_FORMATTINGS = ("alpaca", "sharegpt", "openai")
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
_COLUMNS = (
    *("prompt", "query", "response", "history", "messages", "system", "tools"),
    *("images", "videos", "audios", "chosen", "rejected", "kto_tag"),
)
_TAGS = {
    "sharegpt": ("from", "value", "human", "gpt", "observation", "function_call", "system"),
    "openai": ("role", "content", "user", "assistant", "tool", "tool_call", "system"),
}
"""What the tags stand for where the file does not say, and the names that this module gives them."""
_TAG_NAMES = (
    *("role_tag", "content_tag"),
    *("user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag"),
)


@dataclass(frozen=True)
class _Shape:
    """The columns and tags of one dataset's rows."""

    columns: Mapping[str, str]
    ranking: bool
    folder: Path | None
    """Where media files are looked for: the folder of a local dataset."""
    tags: Mapping[str, str]
    formatting: str


def find_in(path: Path, name: str) -> Entry | None:
    """Return the dataset `name` of a `dataset_info.json`, or of that in the folder `path`; None where there is none.

    Raises:
        ConfigError: the file cannot be read, or has mistakes (all are in one message), or the dataset wants code
            from elsewhere, names no source, or a file that is missing or outside the folder.
    """
    path = path / "dataset_info.json" if path.is_dir() else path
    described = _read(path)
    problems = [f"{path}: {problem}" for key, entry in described.items() for problem in _problems(key, entry)]
    if problems:
        raise ConfigError("\n".join(problems))
    return _entry(path, name, described[name]) if name in described else None


def _read(path: Path) -> dict[str, Any]:
    try:
        described = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        siblings = [str(file) for file in path.parent.glob("*.json")]
        raise ConfigError(f"no file {path}{did_you_mean(str(path), siblings)}") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if not isinstance(described, dict):
        raise ConfigError(f"{path}: must be an object with a description for each dataset's name")
    return described


def _problems(name: str, entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return [f"'{name}' must be an object that describes the dataset"]
    problems = [f"'{name}': unknown key '{key}'{did_you_mean(key, _KINDS)}" for key in entry.keys() - _KINDS.keys()]
    for key, kind in _KINDS.items():
        value = entry.get(key)
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            problems.append(f"'{name}': '{key}' must be {_TYPE_NAMES[kind]}, not {json.dumps(value)[:40]}")
    formatting = entry.get("formatting")
    if isinstance(formatting, str) and formatting not in _FORMATTINGS:
        choices = ", ".join(_FORMATTINGS)
        problems.append(f"'{name}': 'formatting' must be one of {choices}{did_you_mean(formatting, _FORMATTINGS)}")
    if isinstance(entry.get("num_samples"), int) and entry["num_samples"] < 1:
        problems.append(f"'{name}': 'num_samples' must be at least 1")
    for group, valid in (("columns", _COLUMNS), ("tags", _TAG_NAMES)):
        inner = entry.get(group)
        for key, value in inner.items() if isinstance(inner, dict) else ():
            if key not in valid:
                problems.append(f"'{name}': unknown key '{key}' in '{group}'{did_you_mean(key, valid)}")
            elif value is not None and not isinstance(value, str):
                problems.append(f"'{name}': '{key}' in '{group}' must be a text, not {json.dumps(value)[:40]}")
    return sorted(problems)


def _entry(path: Path, name: str, entry: dict[str, Any]) -> Entry:
    on_hub = entry.get("hf_hub_url") or entry.get("ms_hub_url")
    file = None if on_hub else _file(path, name, entry)
    formatting = entry.get("formatting") or "alpaca"
    columns = {key: column for key, column in (entry.get("columns") or {}).items() if column}
    if not entry.get("columns") and formatting == "alpaca":
        columns = dict(_ALPACA)
    if formatting != "alpaca":
        columns = {"messages": "conversations" if formatting == "sharegpt" else "messages"} | columns
    if entry.get("ranking"):
        columns = {"chosen": "chosen", "rejected": "rejected"} | columns
    tags = dict(zip(_TAG_NAMES, _TAGS.get(formatting, _TAGS["sharegpt"]), strict=True))
    tags |= {key: tag for key, tag in (entry.get("tags") or {}).items() if tag}
    shape = _Shape(columns, bool(entry.get("ranking")), path.parent if file else None, tags, formatting)
    subset = entry.get("subset") or entry.get("folder")
    return Entry(
        name,
        modelscope=entry.get("ms_hub_url"),
        huggingface=entry.get("hf_hub_url"),
        file=file,
        subsets=(subset,) if subset else (),
        split=entry.get("split") or "train",
        revision=entry.get("revision"),
        samples=entry.get("num_samples"),
        converter=partial(_alpaca if formatting == "alpaca" else _conversation, shape),
    )


def _file(path: Path, name: str, entry: dict[str, Any]) -> Path:
    if entry.get("script_url"):
        raise ConfigError(
            f"{path}: '{name}' is read by a script ('script_url'), and code of a dataset is not run; "
            "name the files that it writes as 'file_name'"
        )
    if not entry.get("file_name"):
        raise ConfigError(f"{path}: '{name}' needs 'ms_hub_url', 'hf_hub_url' or 'file_name'")
    file, folder = path.parent / entry["file_name"], path.parent.resolve()
    if not file.resolve().is_relative_to(folder):
        raise ConfigError(f"{path}: '{name}': 'file_name' lies outside the folder of {path.name}: {entry['file_name']}")
    if not file.exists():
        siblings = [file.name for file in path.parent.glob("*")]
        raise ConfigError(
            f"{path}: '{name}': no file '{entry['file_name']}' beside it{did_you_mean(entry['file_name'], siblings)}"
        )
    return file


def _alpaca(shape: _Shape, raw: Raw) -> Raw:
    """Return an alpaca row in a known format; prompt and query are one question, a line each."""
    value: dict[str, Any] = {key: raw.get(column) for key, column in shape.columns.items()}
    if not shape.ranking and set(shape.columns) == {"prompt"}:
        return {"text": value["prompt"]}
    last_question = "\n".join(part for part in (value.get("prompt"), value.get("query")) if part)
    prompt = [{"role": "system", "content": value["system"]}] if value.get("system") else []
    for question, answer in value.get("history") or ():
        prompt += [_user(question), _assistant(answer)]
    prompt.append(_user(last_question))
    beside = _beside(shape, raw)
    if shape.ranking:
        return {"prompt": prompt} | {side: [_assistant(value[side])] for side in ("chosen", "rejected")} | beside
    if isinstance(value.get("kto_tag"), bool):
        return {"prompt": prompt, "completion": [_assistant(value["response"])], "label": value["kto_tag"]} | beside
    if value.get("response") is None:
        return {"prompt": prompt} | beside
    return {"messages": [*prompt, _assistant(value["response"])]} | beside


def _conversation(shape: _Shape, raw: Raw) -> Raw:
    """Return a row of turns with the keys and roles that the formats know, with tools and media."""
    columns = shape.columns
    key = "conversations" if shape.formatting == "sharegpt" else "messages"
    row: Raw = {key: [_turn(shape, turn) for turn in raw[columns["messages"]]]} | _beside(shape, raw)
    if system := raw.get(columns.get("system", "")):
        row["system"] = system
    if shape.ranking:
        row |= {side: _turn(shape, raw[columns[side]]) for side in ("chosen", "rejected")}
    label = raw.get(columns.get("kto_tag", ""))
    return row | {"label": label} if isinstance(label, bool) else row


def _turn(shape: _Shape, turn: Raw) -> Raw:
    tags = shape.tags
    role_key, content_key, *roles = _TAGS[shape.formatting]
    names = dict(zip((tags[tag] for tag in _TAG_NAMES[2:]), roles, strict=True))
    rest = {key: value for key, value in turn.items() if key not in (tags["role_tag"], tags["content_tag"])}
    role = turn[tags["role_tag"]]
    return {role_key: names.get(role, role), content_key: turn[tags["content_tag"]]} | rest


def _beside(shape: _Shape, raw: Raw) -> Raw:
    """Return the tools and media of a row; a media file in the dataset's folder gets its path there."""
    beside: Raw = {}
    for key in ("tools", "images", "videos", "audios"):
        value = raw.get(shape.columns.get(key, ""))
        if value:
            beside[key] = (
                value if key == "tools" else _media(value if isinstance(value, list) else [value], shape.folder)
            )
    return beside


def _media(files: list[Any], folder: Path | None) -> list[Any]:
    if folder is None:
        return files
    return [str(folder / file) if isinstance(file, str) and (folder / file).is_file() else file for file in files]


def _user(content: Any) -> Raw:
    return {"role": "user", "content": content}


def _assistant(content: Any) -> Raw:
    return {"role": "assistant", "content": content}
