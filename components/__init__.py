"""The parts Martlet is built from: plain Python, each usable alone from a notebook.

Components do not import each other. All may import the shared ones: `config`, `rows`, `tokens`, `plugins`, `errors`,
`files`, `parallel` and `cache`. Stages (`tasks/stages`) are where components meet.
"""
