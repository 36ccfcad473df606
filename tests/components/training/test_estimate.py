"""What a training needs, from the shapes of a model without values."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components import models
from components.classes import SINGLE, Classes
from components.config import Params
from components.hardware import peak_flops
from components.training import settled
from components.training.activations import SavedTensors
from components.training.estimate import Batch, largest_batch, memory
from components.training.page import render
from components.tuners import TUNERS


def wrapped(folder: Path, tuner: str, groups: dict[str, Any], outline: bool = True) -> tuple[Any, Params]:
    params = settled(Params.model_validate({**groups, "tuner": {"tuner_type": tuner}}), 1e-3)
    method = TUNERS.load(tuner)
    if not outline:
        return method.wrap(models.load_model(folder), params, 0), params
    return method.wrap(models.skeleton(folder), params, 0).to("meta"), params


FIT: dict[str, Any] = {
    "llamapro": {"llamapro_num_new_blocks": 2},
    "vera": {"vera_rank": 8},
    "fourierft": {"fourier_n_frequency": 100},
}
"""Sizes that fit the tiny model."""
SOME = Batch(4, 64, 128)


@pytest.mark.parametrize("tuner", TUNERS.names())
def test_an_outline_learns_and_keeps_what_the_model_does(tuner: str, tiny_model: Path) -> None:
    outline, params = wrapped(tiny_model, tuner, FIT)
    real, _ = wrapped(tiny_model, tuner, FIT, outline=False)
    learned = [sum(w.numel() for w in model.parameters() if w.requires_grad) for model in (outline, real)]
    assert learned[0] == pytest.approx(learned[1], rel=0.01)
    need = memory(outline, params, Batch(2, 64, 128))
    assert need.whole
    saved = SavedTensors(real.train())
    ids = torch.zeros(2, 64, dtype=torch.long)
    with saved:
        real(input_ids=ids, use_cache=False)
    assert need.activations == pytest.approx(saved.bytes(recomputes=False) + 2 * 128 * 320 * 4, rel=0.3)


@pytest.mark.parametrize("classes", [Classes([str(n) for n in range(1000)], SINGLE), None])
def test_an_outline_without_a_vocabulary_keeps_what_the_model_does(classes: Classes | None, tiny_model: Path) -> None:
    """A classifier, and an embedding."""
    groups = {"tuner": {"modules_to_save": ["score"] if classes else []}}
    params = settled(Params.model_validate(groups), 1e-3)
    bare = models.skeleton(tiny_model, task_type="seq_cls" if classes else "embedding", classes=classes)
    model = models.load_model(tiny_model, classes=classes, headless=not classes)
    outline, real = (TUNERS.load("lora").wrap(one, params, 0) for one in (bare, model))
    assert params.tuner.modules_to_save == groups["tuner"]["modules_to_save"]
    learned = [sum(w.numel() for w in model.parameters() if w.requires_grad) for model in (outline, real)]
    assert learned[0] == learned[1]
    need = memory(outline.to("meta"), params, Batch(2, 64, 0))
    saved = SavedTensors(real.train())
    real.config.pad_token_id = 0
    with saved:
        real(input_ids=torch.ones(2, 64, dtype=torch.long), use_cache=False)
    width = 1000 if classes else 64
    assert need.activations == pytest.approx(saved.bytes(recomputes=False) + 2 * 2 * 64 * width * 4, rel=0.05)


def test_parts_follow_the_settings(tiny_model: Path) -> None:
    def need(tuner: str, batch: Batch = SOME, **groups: dict[str, Any]) -> Any:
        return memory(*wrapped(tiny_model, tuner, groups), batch)

    lora, full = need("lora"), need("full")
    assert lora.weights > full.weights >= full.gradients == pytest.approx(full.optimizer / 2, rel=1e-3)
    assert lora.gradients < full.gradients / 5
    galore = need("full", train={"optimizer": "galore"}, galore={"galore_rank": 4})
    assert galore.optimizer < full.optimizer / 2
    assert need("lora", Batch(4, 256, 512)).activations > 3 * lora.activations
    assert need("lora", train={"gradient_checkpointing": True}).activations < lora.activations
    assert need("lora", quantization={"quant_method": "bnb"}).weights < lora.weights
    assert lora.least < lora.peak
    masked, bare = (need("lora", SOME._replace(masked=masked)) for masked in (True, False))
    assert masked.least == bare.least < bare.activations < masked.activations
    half = memory(*wrapped(tiny_model, "lora", {"train": {"gradient_accumulation_steps": 1}}), Batch(4, 64, 128))
    assert half.peak < lora.peak


def test_the_largest_batch() -> None:
    lengths, learned = np.array([10, 50, 20, 30]), np.array([5, 25, 10, 15])

    def batch(joins: bool, masked: bool = False, sequences: Any = None, **train: Any) -> Batch:
        params = settled(Params.model_validate({"train": {"per_device_train_batch_size": 2, **train}}), 1e-3)
        return largest_batch(lengths, learned, params, joins, masked, sequences)

    assert batch(False)[:2] == (2, 50)
    assert batch(False, sequences=np.array([9, 2, 3, 2]), group_by_length=True)[:2] == (12, 20)
    assert batch(True, group_by_length=True) == Batch(1, 80, 40)
    two = np.full(4, 2)
    assert not batch(True, masked=True, per_device_train_batch_size=1).masked
    assert batch(True, masked=True, sequences=two, per_device_train_batch_size=1).masked
    assert batch(True, masked=True, group_by_length=True).masked
    assert batch(True, packing=True, packing_length=100) == Batch(2, 100, 100)


def test_peaks_of_accelerators_by_their_names() -> None:
    names = ["H100 80GB HBM3", "H100 PCIe", "A100-SXM4-40GB", "L40S", "GeForce RTX 4090"]
    assert [peak_flops(f"NVIDIA {name}") for name in names] == [989e12, 756e12, 312e12, 362e12, 165e12]
    assert peak_flops("NVIDIA X9") is None


def test_a_page_before_the_first_step_and_with_text_that_looks_like_html() -> None:
    page = render([{"time": 1.0, "message": "<b>memory"}, {"time": 1.0, "settings": {"x": "<i>"}}], is_running=True)
    assert "The first step is not done yet" in page
    assert "&lt;b&gt;memory" in page
    assert "<i>" not in page
    assert 'http-equiv="refresh"' in page
    assert 'http-equiv="refresh"' not in render([], is_running=False)


@pytest.mark.slow  # trains models of 64M parameters
@pytest.mark.parametrize(
    "case",
    [
        ("lora", 2, 256), ("full", 2, 256), ("full+galore", 2, 256), ("reft", 4, 256), ("lora+seq_cls", 4, 256),
        ("full+embedding", 2, 64), ("lora+dpo", 2, 256), ("lora+kto", 4, 256), ("lora+rm", 2, 256),
    ],
)  # fmt: skip
def test_estimates_are_within_a_quarter_of_what_is_measured(case: tuple[str, int, int]) -> None:
    from benchmarks.memory import measure

    assert abs(measure(*case).error) < 0.25
