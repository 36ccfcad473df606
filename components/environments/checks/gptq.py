"""Check of GPTQModel: a matrix rounded to 4 bits by the Hessian of its inputs gives nearly the same products."""

from typing import Any


def run(request: dict[str, Any], report: Any) -> dict[str, Any]:  # noqa: ARG001
    import gptqmodel
    import torch
    import transformers
    from gptqmodel.quantization.gptq import GPTQ

    torch.manual_seed(0)
    linear = torch.nn.Linear(128, 64, bias=False)
    inputs = torch.randn(1, 512, 128)
    method = GPTQ(linear, gptqmodel.QuantizeConfig(bits=4, group_size=64))
    method.quantizer.configure(perchannel=True)
    method.add_batch(inputs, linear(inputs))
    weight = method.quantize()[0]
    error = ((inputs @ weight.T - linear(inputs)).norm() / linear(inputs).norm()).item()
    if error > 0.2:
        raise ValueError(f"a matrix of 4 bits gives other products: they differ by {error:.0%}")
    return {"torch": torch.__version__, "transformers": transformers.__version__, "gptqmodel": gptqmodel.__version__}
