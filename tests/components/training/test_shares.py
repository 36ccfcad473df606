"""What each device holds, against the formulas of ZeRO (arXiv 1910.02054, section 5 and figure 1)."""

import pytest

from components.training.sharding import DEEPSPEED, FSDP, Plan
from components.training.shares import Sizes, share

BILLION = 10**9
PARAMETERS = 7.5 * BILLION
MIXED = Sizes(0, round(2 * PARAMETERS), round(2 * PARAMETERS), round(12 * PARAMETERS))
"""Mixed precision with Adam: 2 bytes a weight, 2 its gradient, 12 the state."""


@pytest.mark.parametrize(
    ("stage", "gigabytes"),
    [(1, 31.4), (2, 16.6), (3, 1.9)],
)
def test_the_figures_of_the_paper_for_a_model_of_7_5_billion_on_64_devices(stage: int, gigabytes: float) -> None:
    own = share(MIXED, DEEPSPEED[f"zero{stage}"], 64)
    assert sum(own[:3]) / BILLION == pytest.approx(gigabytes, abs=0.05)
    assert sum(share(MIXED, Plan(), 1)[:3]) / BILLION == pytest.approx(120)


def test_ddp_holds_all_and_its_buckets_once_more() -> None:
    assert share(MIXED, Plan(), 8)[:4] == (*MIXED[1:4], MIXED.gradients)
    assert share(MIXED, Plan(), 1).exchange == 0


def test_fsdp_divides_as_stage_3_and_in_a_hybrid_within_machines() -> None:
    assert share(MIXED, FSDP["full_shard"], 64) == share(MIXED, DEEPSPEED["zero3"], 64)
    assert share(MIXED, FSDP["hybrid_shard"], 64, machines=8) == share(MIXED, FSDP["full_shard"], 8)


def test_layers_are_whole_for_a_moment_with_their_gradients() -> None:
    whole = MIXED._replace(gathered=BILLION)
    assert share(whole, DEEPSPEED["zero3"], 8).exchange == 2 * BILLION
    assert share(whole, DEEPSPEED["zero2"], 8).exchange == 0
    assert share(whole, FSDP["shard_grad_op"], 8).exchange == whole.learning + BILLION


def test_an_adapter_is_whole_under_fsdp_and_divided_by_stage_3() -> None:
    lora = Sizes(frozen=8000, learning=80, gradients=80, optimizer=160, gathered=1000, is_adapter=True)
    assert share(lora, FSDP["full_shard"], 8)[:4] == (1080, 80, 160, 1000)
    assert share(lora, DEEPSPEED["zero3"], 8)[:4] == (1010, 10, 20, 1000)
    assert share(lora, DEEPSPEED["zero2"], 8)[:3] == (8080, 10, 20)


def test_what_is_offloaded_lies_in_the_machines_memory_or_on_its_disk() -> None:
    whole = Sizes(0, 80, 80, 960, gathered=10)
    assert share(whole, DEEPSPEED["zero2_offload"], 8) == (80, 0, 0, 0, 130, 0)
    assert share(whole, DEEPSPEED["zero3_offload"], 8) == (0, 0, 0, 20, 140, 0)
    assert share(whole, Plan("deepspeed", 3, "nvme", "cpu"), 8) == (0, 0, 0, 20, 10, 130)
