"""The embedded default: a tiny base model and toy data sets, generated in code.

`build_base` trains a Qwen3-shaped model of under two million parameters, with its own tokenizer and chat template, in
about a minute on two cores. `world` holds the facts that the base knows, and those that a fine-tuning teaches;
`examples` writes the training and evaluation sets of `examples/`. With these the pipeline runs on any machine.
"""

from components.embedded.base import Progress, Settings, build_base

__all__ = ["Progress", "Settings", "build_base"]
