"""Continued pre-training: next-token prediction on every token of plain text."""

from components.tokens import ShapeName
from components.training.methods.sft import trainer

__all__ = ["SHAPE", "trainer"]

SHAPE: ShapeName = "text"
