"""The parts Martlet is built from: plain Python, each usable alone from a notebook.

Components do not import each other. All may import the shared ones: `config`, `rows`, `tokens`, `media`, `plugins`,
`errors`, `files`, `parallel` and `cache`. Stages (`tasks/stages`) are where components meet.
"""

from components._torchvision import install

install()
