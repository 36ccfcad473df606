"""The error of a medium that cannot be used."""


class MediaError(ValueError):
    """A medium cannot be read, or is no such medium: the message is what is wrong with it, without its name."""
