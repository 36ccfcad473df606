"""Check of AutoAWQ: a matrix packed in 4 bits unpacks to what it was rounded to."""

from typing import Any


def run(request: dict[str, Any], report: Any) -> dict[str, Any]:  # noqa: ARG001
    import torch
    import transformers
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.quantize.quantizer import AwqQuantizer
    from awq.utils.packing_utils import dequantize_gemm

    class Settings:
        w_bit, group_size, zero_point = 4, 64, True

    torch.manual_seed(0)
    linear = torch.nn.Linear(256, 64, bias=False)
    rounded, scales, zeros = AwqQuantizer.pseudo_quantize_tensor(Settings, linear.weight.data)
    linear.weight.data = rounded
    packed = WQLinear_GEMM.from_linear(linear, 4, 64, False, scales.t().contiguous(), zeros.t().contiguous())
    unpacked = dequantize_gemm(packed.qweight, packed.qzeros, packed.scales, 4, 64).t().float()
    error = (unpacked - rounded).abs().max().item()
    if error > 1e-3:
        raise ValueError(f"a packed matrix unpacks to another: it differs by {error:g}")
    return {"torch": torch.__version__, "transformers": transformers.__version__}
