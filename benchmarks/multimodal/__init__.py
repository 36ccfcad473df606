"""Tiny random models that see and hear, one of every type that transformers has, with their processors."""
