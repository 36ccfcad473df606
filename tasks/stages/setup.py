"""What a training is made of, settled before a model is loaded: parameters, identity of all inputs, checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import cache, models, training, tuners
from components.classes import HEAD, REWARD, Classes, classes_of
from components.config import FAMILIES, SAVED_GROUPS, Params
from components.errors import ConfigError
from components.files import MANIFEST, read_json, sha256
from components.tokens import TokenRows
from tasks.stages import judgements
from tasks.stages.paths import Paths, plugin_files

if TYPE_CHECKING:
    from tasks.stages.stream import Feed

CODE = (
    "components/tokens.py", "components/classes.py", "components/models/*.py", "components/models/quantization/_*.py",
    "components/tuners/_*.py", "components/training/*.py", "components/training/*/_*.py",
)  # fmt: skip
"""Files that decide the weights, beside those of the methods in use."""
FOR_PEOPLE = (
    "activations", "divergence", "estimate", "intact", "page", "preload", "proofs", "report", "resuming", "shares",
    "signals", "symptoms", "trackers",
)  # fmt: skip
"""Files of training that only tell, check or wait."""
WITHOUT_INFLUENCE = {
    *(f"components/training/{name}.py" for name in FOR_PEOPLE),
    *(f"components/models/{name}.py" for name in ("catalogue", "companions", "fitness")),
}
"""Of these, the files that do not: a run whose report is drawn otherwise goes on from its last checkpoint."""
IN_METHODS = (*FAMILIES, "plugins")
"""Groups of which data/methods.json says what differs from the defaults."""
OF_ALIGNMENT = ("preference", "reward", "rollout", "ppo", "distillation")
"""Groups that say how weights learn, and not what they are."""
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
    def classes(self) -> Classes | None:
        """What a classifier tells."""
        return Classes(**self.arguments["classes"]) if "classes" in self.arguments else None

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


def set_up(params: Params, paths: Paths, feed: "Feed | None" = None) -> Setup:
    """Settle the parameters, and say what the weights will be made of.

    Raises:
        ConfigError: there is no such tuner or method, or the weights to begin with are of another base or tuner.
    """
    files = plugin_files(params, paths.workspace)
    method = tuners.TUNERS.load(params.tuner.tuner_type, files)
    if params.method.name == "embedding":
        _require_scores(paths)
    if params.method.name == "kto":
        judgements.require_both(paths)
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
        others = {"quantization", params.train.optimizer, *params.train.callbacks, *OF_ALIGNMENT}
        groups = {name.removeprefix("parameters ") for name in methods["files"] if name.startswith("parameters ")}
        own = ["tuner", *["classes"] * (classes is not None), *sorted(groups - others)]
        training.check_weights(weights, arguments, own)
        made_of["weights_from"] = sha256(weights / MANIFEST)
    checkpoints = paths.checkpoints or paths.workspace / ".checkpoints" / training.fingerprint(made_of)
    return Setup(params, paths, arguments, made_of, checkpoints, feed)


def _with_classes(params: Params, paths: Paths) -> tuple[Params, Classes | None]:
    """Return the parameters with a classifier's head among the layers that are saved with an adapter, and the classes
    of the training rows; None for the methods that learn no classes.

    Raises:
        ConfigError: the labels of the rows do not go together or are others than a base's head tells, or a validation
            row has one that no training row has.
    """
    if params.method.task_type != "seq_cls":
        return params, None
    tuner = params.tuner
    saved = [*tuner.modules_to_save, *[HEAD] * (tuner.tuner_type != "full" and HEAD not in tuner.modules_to_save)]
    params = params.model_copy(update={"tuner": tuner.model_copy(update={"modules_to_save": saved})})
    files = _token_files(paths)
    if params.method.name == "rm":
        return params, REWARD
    of_base = models.classes_in(models.folder(read_json(paths.model), paths.workspace))
    classes = classes_of(TokenRows(files[0]).targets(), params.classification, of_base)
    for file in files:
        _require_targets(TokenRows(file), classes, is_val=file.stem == "val")
    return params, classes


def _token_files(paths: Paths) -> list[Path]:
    return [file for file in (paths.tokens / "train.arrow", paths.tokens / "val.arrow") if file.is_file()]


def _require_scores(paths: Paths) -> None:
    """Raise ConfigError if the texts of a row are alike by less than 0 or more than 1, or if only some rows say how
    much; the message names the row."""
    for rows in map(TokenRows, _token_files(paths)):
        of_rows = rows.scores()
        scores = [score for score in of_rows if score is not None]
        for number, score in enumerate(of_rows if scores else []):
            if score is None:
                raise ConfigError(
                    f"score: {rows.origin(number)}: has none, and other rows have; give it one, or leave it out"
                )
            if not 0 <= score <= 1:
                raise ConfigError(
                    f"score: {rows.origin(number)}: {score:g} is not from 0 to 1, how alike two texts are; the rows "
                    f"have {min(scores):g} to {max(scores):g}: divide 5 stars by 5, and leave out labels of classes"
                )


def _require_targets(rows: TokenRows, classes: Classes, is_val: bool) -> None:
    """Raise ConfigError if the label of a row is no class, or of another type; the message names the row."""
    for number, label in enumerate(rows.targets()):
        try:
            classes.target(label)
        except ValueError as error:
            unseen = "; a validation row may have only labels of training rows" * is_val
            raise ConfigError(f"label: {rows.origin(number)}: {error}{unseen}") from error
