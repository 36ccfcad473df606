"""torchvision beside a torch of another build: its Python part is used without its compiled one.

PyPI's torchvision is compiled for PyPI's torch. Beside another build of torch, such as the CPU's, its operators do not
load, and its import ends with "operator torchvision::nms does not exist"; so does then most of transformers, which
imports torchvision wherever it is installed. The import wants no more than the schemas of two operators, and what
transformers' processors ask of torchvision, resizing and normalising, is written in Python. Upstream: pytorch/vision
#9085, open in torchvision 0.28; ends with a torchvision that imports without its operators.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""Operators for which torchvision registers a second implementation as it is imported."""
_libraries: list[object] = []


class _Loader(SourceFileLoader):
    """Imports torchvision with its operators declared, where the compiled ones do not load."""

    def exec_module(self, module: ModuleType) -> None:
        import torch

        try:
            for file in Path(self.path).parent.glob("_C*.so"):
                torch.ops.load_library(str(file))
        except OSError:
            library = torch.library.Library("torchvision", "FRAGMENT")
            for schema in SCHEMAS:
                library.define(schema)
            _libraries.append(library)  # a library's declarations end with the object
        super().exec_module(module)


class TorchvisionFinder:
    """Finds torchvision for `_Loader`, in front of Python's own finders."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "torchvision":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Let torchvision be found by `TorchvisionFinder` in this process."""
    sys.meta_path.insert(0, TorchvisionFinder())
