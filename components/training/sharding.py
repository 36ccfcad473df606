"""How the processes of a training divide the model: the parameters `deepspeed` and `fsdp`, read into one plan."""

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

from components.config import value_answer
from components.config.groups.distributed import Distributed
from components.errors import ConfigError, did_you_mean

Device = Literal["cpu", "nvme"]
"""Where values lie that are not on the accelerator: the machine's memory or its disk."""


class Plan(NamedTuple):
    """What each process holds of the model.

    Attributes:
        stage: what is divided among the processes: 0 nothing, 1 the optimizer's state, 2 gradients too, 3 weights too.
            FSDP divides weights in stage 2 as well, and holds all of them from the forward pass to the backward pass.
        offload_optimizer: where the optimizer's state lies, or None: on the accelerator.
        offload_weights: where the weights lie that are not in use.
        hybrid: the processes of one machine divide the model among them, and machines hold it several times.
        settings: those of the JSON file; {} for a name. Of FSDP its own, without the prefix `fsdp_`.
    """

    engine: Literal["ddp", "deepspeed", "fsdp"] = "ddp"
    stage: int = 0
    offload_optimizer: Device | None = None
    offload_weights: Device | None = None
    hybrid: bool = False
    settings: dict[str, Any] = {}  # noqa: RUF012

    @property
    def divides_weights(self) -> bool:
        """Whether a process holds only its part of the weights between steps."""
        return self.stage == 3 or self.engine == "fsdp"


DEEPSPEED = {
    "zero1": Plan("deepspeed", 1),
    "zero2": Plan("deepspeed", 2),
    "zero3": Plan("deepspeed", 3),
    "zero2_offload": Plan("deepspeed", 2, "cpu"),
    "zero3_offload": Plan("deepspeed", 3, "cpu", "cpu"),
}
FSDP = {
    "full_shard": Plan("fsdp", 3),
    "shard_grad_op": Plan("fsdp", 2),
    "hybrid_shard": Plan("fsdp", 3, hybrid=True),
    "fsdp2": Plan("fsdp", 3),
    "fsdp2_offload": Plan("fsdp", 3, "cpu", "cpu"),
}
"""Names of transformers, then those of ms-swift."""
FSDP_WORDS = ("offload", "auto_wrap")
"""What may follow a name; blocks are always wrapped one by one."""


def plan_of(distributed: Distributed, root: Path = Path()) -> Plan:
    """Return the plan that the parameters name; a file is looked up from `root`.

    Raises:
        ConfigError: both engines are named, or there is no such name, or the file cannot be used.
    """
    if distributed.deepspeed and distributed.fsdp:
        raise ConfigError("deepspeed: --fsdp divides the model, too; leave one of them out")
    if distributed.deepspeed:
        return _deepspeed(distributed.deepspeed, root)
    return _fsdp(distributed.fsdp, root) if distributed.fsdp else Plan()


def _deepspeed(value: str, root: Path) -> Plan:
    if value in DEEPSPEED:
        return DEEPSPEED[value]
    settings = _settings("deepspeed", value, root, list(DEEPSPEED))
    zero = _mapping("deepspeed", settings, "zero_optimization")
    stage = zero.get("stage")
    if stage not in (1, 2, 3):
        raise ConfigError(f"deepspeed: zero_optimization.stage is 1, 2 or 3, not {json.dumps(stage)}")
    optimizer, weights = _device(zero, "offload_optimizer"), _device(zero, "offload_param")
    if stage < 3 and (weights or optimizer == "nvme"):
        name = "offload_param" if weights else "offload_optimizer to nvme"
        raise ConfigError(f"deepspeed: zero_optimization.{name} needs stage 3, and the stage is {stage}")
    return Plan("deepspeed", stage, optimizer, weights, settings=settings)


def _device(zero: dict[str, Any], name: str) -> Device | None:
    devices: dict[str, Device | None] = {"cpu": "cpu", "nvme": "nvme", "none": None}
    device = _mapping("deepspeed", zero, name).get("device", "none")
    if device not in devices:
        raise ConfigError(f"deepspeed: zero_optimization.{name}.device is cpu, nvme or none, not {json.dumps(device)}")
    return devices[device]


def _fsdp(value: str, root: Path) -> Plan:
    name, *words = value.split()
    if name in FSDP and set(words) <= set(FSDP_WORDS):
        return FSDP[name]._replace(offload_optimizer="cpu", offload_weights="cpu") if "offload" in words else FSDP[name]
    if name in FSDP:
        wrong = next(word for word in words if word not in FSDP_WORDS)
        raise ConfigError(f"fsdp: after {name} may stand {' and '.join(FSDP_WORDS)}, not '{wrong}'")
    return _fsdp_file(_settings("fsdp", value, root, list(FSDP)), root)


def _fsdp_file(file: dict[str, Any], root: Path) -> Plan:
    """Return the plan of a file of ms-swift's or accelerate's form (settings below `fsdp_config`), or of the settings
    alone, as transformers' `fsdp_config` has them."""
    if "zero_optimization" in file:
        raise ConfigError("fsdp: these are settings of DeepSpeed; name their file with --deepspeed")
    values = _mapping("fsdp", file, "fsdp_config") if "fsdp_config" in file else file
    settings = {name.removeprefix("fsdp_"): value for name, value in values.items() if name != "fsdp"}
    name = str(file.get("fsdp") or settings.get("sharding_strategy", "full_shard")).lower()
    if name.split()[0] not in FSDP:
        raise ConfigError(f"fsdp: there is no '{name}'; choose one of {', '.join(FSDP)}")
    plan = _fsdp(name, root)._replace(settings=settings)
    if settings.get("reshard_after_forward", True) in (False, "false"):
        plan = plan._replace(stage=2)
    if settings.get("offload_params") or settings.get("cpu_offload"):
        plan = plan._replace(offload_optimizer="cpu", offload_weights="cpu")
    return plan


def _settings(parameter: str, value: str, root: Path, names: list[str]) -> dict[str, Any]:
    """Return the content of a JSON file, or of JSON as text."""
    text = value
    if not value.startswith("{"):
        file = root / Path(value).expanduser()
        if not file.is_file():
            if reply := value_answer(parameter, value.lower()):
                raise ConfigError(f"{parameter} '{value}': {reply}")
            if not value.endswith(".json"):
                raise ConfigError(
                    f"{parameter}: there is no '{value}'{did_you_mean(value, names)}; choose one of "
                    f"{', '.join(names)}, or name a JSON file"
                )
            raise ConfigError(f"{parameter}: '{value}': no such file")
        text = file.read_text(errors="replace")
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{parameter}: '{value}' is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{parameter}: '{value}' is no mapping of settings")
    return settings


def _mapping(parameter: str, settings: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the settings below `name`, {} where there are none."""
    values = settings.get(name, {})
    if not isinstance(values, dict):
        raise ConfigError(f"{parameter}: {name} is a mapping of settings, not {json.dumps(values)}")
    return values
