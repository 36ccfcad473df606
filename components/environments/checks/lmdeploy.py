"""Check of LMDeploy: a kernel gives what torch gives on the GPU, and the engine's library loads."""

from typing import Any


def run(request: dict[str, Any], report: Any) -> dict[str, Any]:  # noqa: ARG001
    import lmdeploy
    import lmdeploy.turbomind
    import torch
    from lmdeploy.pytorch.kernels.cuda import rms_norm

    rows, weight = torch.randn(4, 64, device="cuda"), torch.rand(64, device="cuda")
    expected = torch.nn.functional.rms_norm(rows, (64,), weight, 1e-6)
    torch.testing.assert_close(rms_norm(rows, weight, 1e-6), expected, rtol=1e-4, atol=1e-4)
    return {"lmdeploy": lmdeploy.__version__, "torch": torch.__version__}
