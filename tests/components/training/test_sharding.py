"""How `--deepspeed` and `--fsdp` are read."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.config.groups.distributed import Distributed
from components.errors import ConfigError
from components.training.sharding import Plan, plan_of


def plan(root: Path = Path(), **values: Any) -> Plan:
    return plan_of(Distributed.model_validate(values), root)


def test_names() -> None:
    assert plan() == Plan("ddp", 0)
    assert [plan(deepspeed=f"zero{n}").stage for n in (1, 2, 3)] == [1, 2, 3]
    assert plan(deepspeed="zero2_offload")[:4] == ("deepspeed", 2, "cpu", None)
    assert plan(deepspeed="zero3_offload")[:4] == ("deepspeed", 3, "cpu", "cpu")
    assert plan(fsdp="full_shard") == plan(fsdp="fsdp2") == plan(fsdp="full_shard auto_wrap") == Plan("fsdp", 3)
    assert plan(fsdp="full_shard auto_wrap offload") == plan(fsdp="fsdp2_offload") == Plan("fsdp", 3, "cpu", "cpu")
    assert plan(fsdp="hybrid_shard").hybrid
    assert plan(fsdp="shard_grad_op").stage == 2


def test_weights_are_divided_by_stage_3_and_by_fsdp() -> None:
    plans = plan(), plan(deepspeed="zero2"), plan(deepspeed="zero3"), plan(fsdp="shard_grad_op")
    assert [each.divides_weights for each in plans] == [False, False, True, True]


def test_a_file_of_deepspeed_and_the_same_as_json(tmp_path: Path) -> None:
    zero = {"stage": 3, "offload_optimizer": {"device": "nvme", "nvme_path": "/x"}, "offload_param": {"device": "none"}}
    settings = {"zero_optimization": zero, "train_batch_size": "auto"}
    (tmp_path / "ds.json").write_text(json.dumps(settings))
    of_file = plan(tmp_path, deepspeed="ds.json")
    assert of_file == plan(deepspeed=settings) == Plan("deepspeed", 3, "nvme", settings=settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"fsdp": "full_shard auto_wrap offload", "fsdp_config": {"fsdp_version": 2}},
        {"fsdp_config": {"fsdp_sharding_strategy": "FULL_SHARD", "fsdp_offload_params": True}, "use_cpu": False},
        {"version": 2, "cpu_offload": True},
    ],
)
def test_files_of_fsdp_in_the_forms_of_ms_swift_accelerate_and_transformers(settings: dict[str, Any]) -> None:
    plain = plan(fsdp=settings)
    assert plain._replace(settings={}) == Plan("fsdp", 3, "cpu", "cpu")
    assert not any(name.startswith("fsdp") for name in plain.settings)


def test_a_file_of_fsdp_that_keeps_weights_between_the_passes() -> None:
    assert plan(fsdp={"fsdp_config": {"reshard_after_forward": False}}).stage == 2


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"deepspeed": "zero2", "fsdp": "full_shard"}, "deepspeed: --fsdp divides the model, too"),
        ({"deepspeed": "zerro3"}, r"deepspeed: there is no 'zerro3' \(did you mean 'zero3'\?\); choose one of zero1, "),
        ({"deepspeed": "zero0"}, "deepspeed 'zero0': stage 0 divides nothing; without --deepspeed"),
        ({"deepspeed": "default-zero3"}, "deepspeed 'default-zero3': here it is --deepspeed zero3"),
        ({"fsdp": "fullshard"}, r"fsdp: there is no 'fullshard' \(did you mean 'full_shard'\?\)"),
        ({"fsdp": {"zero_optimization": {"stage": 2}}}, "fsdp: these are settings of DeepSpeed; name their file with"),
        ({"fsdp": "full_shard offlod"}, "fsdp: after full_shard may stand offload and auto_wrap, not 'offlod'"),
        ({"fsdp": {"fsdp": "quarter_shard"}}, "fsdp: there is no 'quarter_shard'"),
        ({"deepspeed": "none.json"}, "deepspeed: 'none.json': no such file"),
        ({"deepspeed": "text.json"}, "deepspeed: 'text.json' is not JSON"),
        ({"deepspeed": "list.json"}, "deepspeed: 'list.json' is no mapping"),
        ({"deepspeed": {"zero_optimization": 3}}, "zero_optimization is a mapping of settings, not 3"),
        ({"deepspeed": {}}, "zero_optimization.stage is 1, 2 or 3, not null"),
        ({"deepspeed": {"zero_optimization": {"stage": 0}}}, "zero_optimization.stage is 1, 2 or 3, not 0"),
        (
            {"deepspeed": {"zero_optimization": {"stage": 3, "offload_param": {"device": "disk"}}}},
            'offload_param.device is cpu, nvme or none, not "disk"',
        ),
        (
            {"deepspeed": {"zero_optimization": {"stage": 2, "offload_param": {"device": "cpu"}}}},
            "offload_param needs stage 3, and the stage is 2",
        ),
    ],
)
def test_what_cannot_be_used_is_named(values: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("stage: 3")
    (tmp_path / "list.json").write_text("[3]")
    with pytest.raises(ConfigError, match=sentence):
        plan(tmp_path, **values)
