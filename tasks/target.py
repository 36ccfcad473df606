"""The model that a command means: `--adapters`, `--model`, or the champion of the workspace."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.config import Layer, Params, read_flags, read_mapping, read_yaml, resolve
from components.config.groups.multimodal import Multimodal
from components.config.groups.quantization import Quantization
from components.config.groups.template import Template
from components.errors import ConfigError
from components.files import (
    MANIFEST,
    is_complete,
    read_json,
    replacing_folder,
    sha256_tree,
    write_json,
)
from components.tuners import TUNERS, makes_up_for_quantization
from tasks import effects
from tasks.checkpoints import Target, checkpoint_of, identity_of, with_adapter
from tasks.outputs import require_writable
from tasks.prompts import trained_with
from tasks.stages.paths import Paths, plugin_files

PARAMETERS = (
    "generation.infer_backend", "generation.max_batch_size", "generation.max_model_len",
    "run.adapters", "run.merge_lora", "model", "data.use_hf",
    "template.system", "template.enable_thinking", "template.use_chat_template",
    "train.torch_dtype", "train.attn_impl", "quantization", "plugins",
)  # fmt: skip
"""The flags of a command that runs a model."""
SAMPLING = tuple(
    f"generation.{name}"
    for name in ("max_new_tokens", "temperature", "top_k", "top_p", "repetition_penalty", "stop_words")
)
"""The flags of a server, whose requests say themselves whether they are streamed."""


def find(flags: dict[str, Any], report: Callable[[str], None] = print) -> Target:
    """Return the model that `flags` name, with the parameters that hold for it.

    `report` gets a line where a run folder stands for one of its checkpoints.

    Raises:
        ConfigError: no model is named and there is no champion, a folder does not exist, or a flag of the quantization
            would have no effect.
        MartletError: the champion's weights are not those that were registered.
    """
    target = _find(flags, report)
    quantization = [name for name in Quantization.model_fields if name in flags]
    if quantization and (target.params.run.merge_lora or not flags.keys() & {"adapters", "model"}):
        raise ConfigError(
            f"--{quantization[0]}: the champion, or a merged model, is loaded as it is stored; quantize a model with "
            "`martlet export`, and name its folder with --model"
        )
    effects.require(flags, target.params, effects.QUANTIZED)
    if target.adapter:
        _require_rounding(target.adapter, target.params)
    if target.params.model.trust_remote_code:
        from components import models

        models.allow_code(target.model)
    _require_length(target)
    return target


def identity(target: Target) -> list[Any]:
    """Return what tells one model from another, as JSON: its folder, its adapter's, and their files."""
    from tasks.loading import weights_identity

    return [weights_identity(folder) for folder in (target.model, target.adapter) if folder]


def _require_rounding(adapter: Path, params: Params) -> None:
    """Raise ConfigError if an adapter that began with what a quantization took is put on weights that lack something
    else."""
    if not makes_up_for_quantization(params.tuner.tuner_type, params.lora.init_weights):
        return
    saved = Quantization.model_validate(read_json(adapter / "args.json")["quantization"])
    for name in set(Quantization.model_fields) - {"bnb_4bit_compute_dtype"}:
        before, now = getattr(saved, name), getattr(params.quantization, name)
        if before != now:
            raise ConfigError(
                f"--{name} {now or 'null'}: the adapter began with what {name} {before} took from the weights (loftq), "
                "and fits no others; leave the flag out"
            )


def _require_length(target: Target) -> None:
    """Raise ConfigError if `max_model_len` is beyond what the model was made for."""
    from components import models

    length = target.params.generation.max_model_len
    if length and (limit := models.context_length(target.model)) and length > limit:
        raise ConfigError(
            f"--max_model_len {length}: {target.model} was made for {limit} tokens of prompt and answer; take {limit} "
            "or fewer"
        )


def _find(flags: dict[str, Any], report: Callable[[str], None]) -> Target:
    from components import models

    adapters = flags.get("adapters", [])
    if len(adapters) > 1:
        raise ConfigError(f"--adapters: one folder at a time, not {len(adapters)}")
    if adapters:
        return with_adapter(checkpoint_of(Path(adapters[0]), report), flags)
    if "model" in flags:
        params = resolve(read_flags(flags))
        assert params.model.model
        identity = identity_of(params, Path.cwd())
        folder = models.folder(identity, Path.cwd())
        if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
            raise ConfigError(f"--model: {folder} is an adapter, and no model; name it with --adapters")
        return Target(folder, None, resolve(_saved_settings(folder), read_flags(flags)))
    return _champion(flags)


def _champion(flags: dict[str, Any]) -> Target:
    workspace = Path("params.yaml")
    if not workspace.is_file():
        raise ConfigError("which model? name a checkpoint with --adapters, or a model with --model")
    from components import registry

    if "model_revision" in flags:
        raise ConfigError("--model_revision has no effect on the champion; name the model of the hub with --model")
    flag_layer = read_flags(flags)
    params = resolve(read_yaml(workspace), flag_layer)
    name = params.registry.registered_model_name
    champion = registry.champion(name, Path.cwd())
    if champion is None:
        raise ConfigError(f"'{name}' has no champion yet: `martlet run` makes one; or name --adapters or --model")
    params = resolve(read_yaml(workspace), _saved_settings(champion.folder), flag_layer)
    champion.verify()
    return Target(champion.folder, None, _unquantized(params))


def _saved_settings(folder: Path) -> Layer:
    """Return the settings of template and media with which the model in a folder was trained, as a layer of
    parameters."""
    groups = {"template": trained_with(folder, Template()), "multimodal": trained_with(folder, Multimodal())}
    settings = {name: group.model_dump(exclude_defaults=True) for name, group in groups.items()}
    return read_mapping(settings, str(folder / "args.json"))


def merged(target: Target, report: Callable[[str], None], output: Path | None = None) -> Target:
    """Return `target`, or with `--merge_lora true` the folder with the adapter merged in: `output`, by default beside
    the checkpoint.

    `report` gets a line on the merge for the screen.

    Raises:
        ConfigError: there is no adapter to merge, or `output` holds something else.
    """
    if not target.params.run.merge_lora:
        return target
    if not target.adapter:
        raise ConfigError(f"--merge_lora: {target.model} is a whole model, with no adapter to merge")
    files = plugin_files(target.params, Path.cwd())
    if not TUNERS.constant(tuner := target.params.tuner.tuner_type, "MERGES", True, files):
        raise ConfigError(f"--merge_lora: an adapter of {tuner} cannot be merged; serve it on its base with --adapters")
    adapter = target.adapter.resolve()
    folder = output.resolve() if output else adapter.with_name(f"{adapter.name}-merged")
    content = sha256_tree(adapter)
    is_merged = is_complete(folder) and read_json(folder / MANIFEST).get("adapter") == content
    if is_merged:
        report(f"merged before: {folder}")
    else:
        exist_ok = target.params.export.exist_ok or output is None  # the default name is that of earlier merges
        require_writable(folder, exist_ok, (target.model, adapter))
        proof = _merge(target.model, adapter, folder, target.params, content)
        report(f"merged into {folder}: logits differ by at most {proof['merged']['max_abs_difference']:.1e}")
        for name in (name for name in proof if name.startswith("trained_on_")):  # which is what was learned
            difference, agreement = proof[name]["max_abs_difference"], proof[name]["argmax_agreement"]
            report(f"  {name}: by {difference:.1e}; the likeliest token is the same in {agreement:.1%} of places")
    return Target(folder, None, _unquantized(target.params))


def _unquantized(params: Params) -> Params:
    """Return the parameters for a model that stands on its own, and is loaded as it is stored."""
    return params.model_copy(update={"quantization": Quantization()})


def _merge(base: Path, adapter: Path, folder: Path, params: Params, content: str) -> dict[str, Any]:
    """Merge `adapter`, whose hash is `content`, into `base` as the stage does; return the content of merge.json."""
    from tasks.samples import of_run
    from tasks.stages.merge import merge_into, write_card

    samples = of_run(adapter.parent, base, settings=params.multimodal)
    with replacing_folder(folder, adapter=content) as temporary:
        proof = merge_into(temporary, base, adapter, samples, params.merge, plugin_files(params, Path.cwd()))
        write_json(temporary / "merge.json", proof)
        shutil.copy2(adapter / "args.json", temporary)
        arguments, run = read_json(adapter / "args.json"), Paths(adapter.parent, Path.cwd())
        write_card(temporary, run, arguments["model"], arguments, proof)
    return proof
