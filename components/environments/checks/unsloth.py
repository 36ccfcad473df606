"""Check of Unsloth: its import patches transformers for the GPU, and a kernel gives what torch gives."""

from typing import Any


def run(request: dict[str, Any], report: Any) -> dict[str, Any]:  # noqa: ARG001
    import unsloth  # noqa: I001 - it patches what is imported after it
    import torch
    import transformers
    from unsloth.kernels import fast_rms_layernorm

    norm = transformers.models.llama.modeling_llama.LlamaRMSNorm(64, eps=1e-6).cuda()
    rows = torch.randn(1, 4, 64, device="cuda")
    torch.testing.assert_close(fast_rms_layernorm(norm, rows), norm(rows), rtol=1e-3, atol=1e-3)
    return {"unsloth": unsloth.__version__, "torch": torch.__version__}
