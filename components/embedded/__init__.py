"""The embedded default: a tiny base model and toy data sets, generated in code.

`build_base` trains a Qwen3-shaped model of under two million parameters, with its own tokenizer and chat template, in
about a minute on two cores. `world` holds what it knows and what a fine-tuning can teach it; `examples` writes the
training and evaluation sets of `examples/`. The point is a pipeline that can be run, and seen to teach, anywhere.
"""

from components.embedded.base import Progress, Settings, build_base

__all__ = ["Progress", "Settings", "build_base"]
