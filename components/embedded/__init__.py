"""The embedded default: a tiny base model and toy data sets, generated in code.

`build_base` trains a Qwen3-shaped model of under two million parameters, with its own tokenizer and chat template, in
about a minute on two cores; `build_vision_base` one that sees pictures, in two. `world` holds the facts that the bases
know, and those that a fine-tuning teaches, `pictures` what there is to see; `examples` and `picture_examples` write the
training and evaluation sets of `examples/`. With these the pipeline runs on any machine.
"""

from components.embedded.base import Progress, Settings, build_base
from components.embedded.vision import build_vision_base
from components.embedded.vision_fit import VisionSettings

__all__ = ["Progress", "Settings", "VisionSettings", "build_base", "build_vision_base"]
