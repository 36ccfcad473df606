"""The benchmark of a GPU, as far as it goes without one."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script of the folder as a module, which finds its neighbours as when it is run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(torch.cuda.is_available(), reason="would run the benchmark")
def test_the_gpu_benchmark_refuses_to_run_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = benchmark("gpu", monkeypatch)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--peak_tflops", "989", "--gradient_checkpointing"])
    with pytest.raises(SystemExit, match="measures a CUDA GPU, and PyTorch sees none"):
        gpu.main()
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--steps", "3"])
    with pytest.raises(SystemExit) as stopped:
        gpu.main()
    assert stopped.value.code == 2


def test_operations_of_a_token_are_those_of_products_of_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert benchmark("gpu", monkeypatch).operations_per_token(7, 2, 3, 10) == 4 * 7 + 6 * 2 * 3 * 10
