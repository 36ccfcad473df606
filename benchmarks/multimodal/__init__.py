"""Tiny random models that see and hear, one of every type that transformers has, with their processors."""

import components

__all__ = ["components"]  # before transformers: torchvision beside a CPU build of torch
