"""The benchmark of a GPU, as far as it goes without one."""

import importlib
import importlib.util
import re
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


@pytest.mark.slow  # trainings in processes of their own, started anew
def test_scaling_is_measured_on_processes_of_any_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    gpu = importlib.import_module("gpu")
    small = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    monkeypatch.setattr(gpu, "SHAPE", {**gpu.SHAPE, **small})
    options = gpu.arguments().parse_args(["--nproc", "2", "--fsdp", "full_shard", "--steps", "7", "--length", "16"])
    gpu.scaling(options)
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert re.fullmatch(r"1 process: [\d,]+ tokens/s; 2, full_shard: [\d,]+ tokens/s", first)
    assert re.fullmatch(r"scaling efficiency \d+\.\d%", second)


PAGE = (BENCHMARKS.parent / "docs/distributed.md").read_text()


def test_the_memory_of_a_small_model_on_several_devices_is_what_its_page_says() -> None:
    from benchmarks.distributed_memory import WAYS, cell

    [row] = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| 0.6B, all weights ")]
    by_way = dict(zip(WAYS, row[1:], strict=True))
    for way in ("`zero3`", "`zero3_offload`"):
        assert cell("0.6B", "full", way) == by_way[way]


@pytest.mark.slow  # models of 72B weights, without values
def test_the_memory_of_all_models_on_several_devices_is_what_their_page_says() -> None:
    from benchmarks.distributed_memory import table

    assert "\n".join(table()) in PAGE
