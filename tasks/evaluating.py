"""The evaluation of one model outside of a workspace: a checkpoint, a model, the champion, or a server elsewhere."""

import os
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from components import registry
from components.config import Params, load, read_flags, resolve
from components.config.groups.gate import Gate
from components.errors import ConfigError, MartletError
from components.evaluation import (
    Record,
    Server,
    Verdict,
    comparisons,
    draw,
    read_records,
    summary,
    write_page,
    write_report,
)
from components.evaluation.ask import OnProgress
from components.files import is_complete, replacing_folder, sha256_of, write_json
from tasks import serving, target
from tasks.claim import git_ignored
from tasks.stages import fetch
from tasks.stages.paths import Paths
from tasks.stages.question_sets import Sets, answered, sets_of
from tasks.target import Target

ENDPOINT_TIMEOUT_S = 10.0


class Subject(NamedTuple):
    """A model to evaluate: its name, what tells it from another, and the model or else the server that has it."""

    name: str
    identity: Any
    model: Target | None
    server: Server | None


def subject_of(spec: str, flags: dict[str, Any], report: Callable[[str], None]) -> Subject:
    """Return the model that a word of the command line means: `champion`, a version's number, a server's address, a
    checkpoint or run folder, a model's folder or its id on a hub.

    Args:
        flags: the command's flags, which hold for every model.

    Raises:
        ConfigError: there is no such model.
    """
    if spec.startswith(("http://", "https://")):
        return of_server(spec, None)
    if spec == "champion":
        return of_target(target.find(flags, report))
    if spec.isdecimal() and not Path(spec).exists():
        return _of_version(int(spec), flags, report)
    folder = Path(spec)
    is_checkpoint = folder.is_dir() and (
        (folder / "adapter_config.json").is_file()
        or any(folder.glob("checkpoint-*"))
        or (folder / "args.json").is_file()
    )
    named = {"adapters": [spec]} if is_checkpoint else {"model": spec}
    return of_target(target.find({**flags, **named}, report))


def _of_version(number: int, flags: dict[str, Any], report: Callable[[str], None]) -> Subject:
    params = load(Path("params.yaml"))
    version = registry.lookup(params.registry.registered_model_name, Path.cwd(), number)
    version.verify()
    subject = of_target(target.find({**flags, "model": str(version.folder)}, report))
    return subject._replace(name=f"version-{number}")


def of_target(model: Target) -> Subject:
    """Return a model of this machine as a subject, by the name of its folder."""
    folder = model.adapter or model.model
    template, media = model.params.template.model_dump(), model.params.multimodal.model_dump()
    name = _file_name(f"{folder.parent.name}-{folder.name}" if folder.name.startswith("checkpoint-") else folder.name)
    return Subject(name, [target.identity(model), template, media], model, None)


def of_server(url: str, model_name: str | None) -> Subject:
    """Return a server's model as a subject; without a name the only one that the server has.

    The key is MARTLET_API_KEY, or OPENAI_API_KEY.

    Raises:
        ConfigError: the server has several models, or not that one.
        MartletError: the server does not answer as OpenAI's API does.
    """
    import httpx

    key = os.environ.get("MARTLET_API_KEY") or os.environ.get("OPENAI_API_KEY") or "EMPTY"
    url = url.rstrip("/")
    try:
        reply = httpx.get(f"{url}/models", headers={"Authorization": f"Bearer {key}"}, timeout=ENDPOINT_TIMEOUT_S)
        reply.raise_for_status()
        names = [entry["id"] for entry in reply.json()["data"]]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise MartletError(f"--eval_url {url}: {error}; name the address up to /v1") from error
    except (ValueError, KeyError, TypeError) as error:
        raise MartletError(f"--eval_url {url}/models does not list models as OpenAI's API does") from error
    if model_name is None and len(names) != 1:
        raise ConfigError(f"--eval_url {url} has several models; name one with --served_model_name: {', '.join(names)}")
    if model_name is not None and model_name not in names:
        raise ConfigError(f"--eval_url {url} has no model '{model_name}'; it has {', '.join(names)}")
    name = model_name or names[0]
    return Subject(_file_name(name), ["server", url, name], None, Server(url, name, key))


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)[:60].strip("_.-") or "model"


def question_sets(params: Params, workspace: Path) -> Sets:
    """Return the sets that `eval_dataset` names, prepared in a folder of their own below `.martlet/eval`.

    Raises:
        ConfigError: no set is named, one does not exist, or a question cannot be judged.
        DataGateError: a row is no question.
    """
    if not params.data.eval_dataset:
        raise ConfigError(
            "which questions? name files or benchmarks with --eval_dataset; `martlet eval --list` has them"
        )
    key = sha256_of([params.data.model_dump(), params.evaluate.eval_dataset_args])[:8]
    paths = Paths(workspace / ".martlet/eval" / key, workspace)
    fetch.question_sets(params, paths)
    return sets_of(params, paths)


def evaluate(
    subject: Subject, sets: Sets, params: Params, workspace: Path, on_progress: OnProgress
) -> tuple[Path, list[Record]]:
    """Return the folder with the results of a subject below `eval_output_dir`, and its judged answers.

    The folder's name has a hash of the model, the questions and the settings. The same evaluation is not run twice,
    and goes on where it was interrupted. A second process with the same evaluation waits for the first.

    Raises:
        MartletError: a question could not be asked or judged.
    """
    settings = params.evaluate.model_dump(exclude={"eval_num_proc"})
    identity = [subject.identity, sets.questions, sets.benchmarks, settings, params.reward.model_dump()]
    folder = workspace / params.run.eval_output_dir / f"{subject.name}-{sha256_of(identity)[:8]}"
    with FileLock(git_ignored(workspace / ".martlet") / f"{folder.name}.lock"):
        if is_complete(folder):
            return folder, read_records(folder / f"{subject.name}.parquet")
        work_dir = folder.with_name(f".{folder.name}.part")
        with _server_of(subject) as server:
            records = answered(server, sets, work_dir, subject.identity, params, workspace, on_progress)
        with replacing_folder(folder, settings=settings, model=subject.identity) as temporary:
            report = write_report(temporary, subject.name, records)
            draw({subject.name: report["sets"]}, temporary / "eval.png")
            write_page(temporary / "eval.html", {subject.name: records})
            work_dir.rename(temporary / "evalscope")
        return folder, records


def gate_of(flags: dict[str, Any]) -> Gate:
    """Return the settings of the gate: those of the workspace's params.yaml, if there is one, and the flags over it."""
    file, typed = Path("params.yaml"), read_flags(flags)
    return (load(file, typed) if file.is_file() else resolve(typed)).gate


def comparison_folder(subjects: Sequence[Subject], params: Params, workspace: Path) -> Path:
    """Return the folder for the comparison of several models."""
    names = "-against-".join(subject.name for subject in subjects)
    key = sha256_of([[subject.identity for subject in subjects], params.data.eval_dataset])[:8]
    return workspace / params.run.eval_output_dir / f"{names[:80]}-{key}"


def compare(evaluations: Mapping[str, Sequence[Record]], params: Params, folder: Path) -> dict[str, Verdict]:
    """Return the verdict on the first model against each other one, and write the page, the plot and the verdicts
    into `folder`.

    Raises:
        MartletError: the models were asked different questions.
    """
    verdicts = comparisons(evaluations, params.gate)
    folder.mkdir(parents=True, exist_ok=True)
    write_page(folder / "eval.html", evaluations, verdicts)
    draw({name: summary(name, records)["sets"] for name, records in evaluations.items()}, folder / "eval.png")
    write_json(folder / "verdicts.json", {name: verdict.to_dict() for name, verdict in verdicts.items()})
    return verdicts


@contextmanager
def _server_of(subject: Subject) -> Generator[Server]:
    """Enter with the server of a subject, which is started for a model of this machine on a free port of loopback."""
    if subject.server:
        yield subject.server
        return
    assert subject.model
    params = subject.model.params
    at_free_port = params.serve.model_copy(update={"port": 0, "host": "127.0.0.1", "served_model_name": subject.name})
    model = subject.model._replace(params=params.model_copy(update={"serve": at_free_port}))
    with serving.deployed(model, None) as url:
        yield Server(url, subject.name)
