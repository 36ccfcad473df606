"""Check of vLLM, for GPUs or CPUs: a compiled operation gives what torch gives on the platform that vLLM recognizes."""

from typing import Any


def run(request: dict[str, Any], report: Any) -> dict[str, Any]:  # noqa: ARG001
    import torch
    import vllm
    from vllm import _custom_ops as operations
    from vllm.platforms import current_platform

    rows = torch.randn(4, 64, device=current_platform.device_type)
    result, weight = torch.empty_like(rows), torch.rand(64, device=rows.device)
    operations.rms_norm(result, rows, weight, 1e-6)
    torch.testing.assert_close(result, torch.nn.functional.rms_norm(rows, (64,), weight, 1e-6), rtol=1e-4, atol=1e-4)
    return {"vllm": vllm.__version__, "torch": torch.__version__, "device": current_platform.device_type}
