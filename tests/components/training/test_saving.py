"""Weights that are written one by one have the files that transformers writes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from components.training import saving
from components.training.saving import DividedWeights
from components.tuners import full


def test_tensors_of_all_precisions_are_read_as_they_were(tmp_path: Path) -> None:
    weights = {
        "half": torch.randn(3, 5).bfloat16(),
        "single": torch.randn(7),
        "turned": torch.randn(4, 6).T,
        "count": torch.tensor(41),
        "none": torch.empty(0, 2, dtype=torch.float16),
    }
    DividedWeights(weights).write(tmp_path)
    again = load_file(tmp_path / "model.safetensors")
    assert again.keys() == weights.keys()
    for name, weight in weights.items():
        assert again[name].dtype == weight.dtype
        assert torch.equal(again[name], weight)


@pytest.mark.parametrize("size", ["5GB", "20KB"])
def test_a_model_in_one_file_or_in_several_is_loaded_by_transformers(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    monkeypatch.setattr(saving, "FILE_SIZE", size)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    full.save(model, tmp_path, weights=DividedWeights(dict(model.named_parameters())))
    assert (tmp_path / "model.safetensors").exists() == (size == "5GB")
    assert (tmp_path / "model.safetensors.index.json").exists() == (size == "20KB")
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
