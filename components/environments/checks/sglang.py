"""Check of SGLang: a compiled operation gives what torch gives on the GPU, and the server imports."""

from typing import Any


def run(request: dict[str, Any], report: Any) -> dict[str, Any]:  # noqa: ARG001
    import sglang
    import sglang.launch_server
    import torch
    from sgl_kernel import rmsnorm

    rows, weight = torch.randn(4, 64, device="cuda", dtype=torch.float16), torch.rand(64, device="cuda").half()
    expected = torch.nn.functional.rms_norm(rows, (64,), weight, 1e-6)
    torch.testing.assert_close(rmsnorm(rows, weight, 1e-6), expected, rtol=1e-2, atol=1e-2)
    return {"sglang": sglang.__version__, "torch": torch.__version__}
