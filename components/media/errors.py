"""The errors of media that cannot be used."""


class MediaError(ValueError):
    """A medium cannot be read, or is no such medium: the message is what is wrong with it, without its name."""


class GoneError(MediaError):
    """A medium that `fetch` found is not there any more, or has another content."""
