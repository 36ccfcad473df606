"""Check of GPTQModel: a matrix is rounded to 4 bits by its Hessian."""

from typing import Any


def run(request: dict[str, Any], report: Any) -> dict[str, Any]:  # noqa: ARG001
    import gptqmodel
    import torch
    import transformers

    return {"torch": torch.__version__, "transformers": transformers.__version__, "gptqmodel": gptqmodel.__version__}
