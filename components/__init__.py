"""The parts Martlet is built from: plain Python, each usable alone from a notebook.

Components never import each other; what everybody shares is `components.config` (the vocabulary),
`components.errors` and `components.files`. Stages (`tasks/stages`) are where components meet.
"""
