"""Parameters of pictures, videos and sounds: how they are read before the model's own processor takes them."""

from components.config.fields import Group, field


class Multimodal(Group):
    """Sizes and frames of media; the names are those of ms-swift's environment variables, in small letters."""

    max_pixels: int | None = field(None, "most pixels of a picture: larger ones are scaled down", gt=0)
    video_max_pixels: int | None = field(None, "most pixels of a video's frame: larger ones are scaled down", gt=0)
    fps: float = field(2.0, "frames that are taken from a second of a video", gt=0)
    nframes: int | None = field(None, "frames that are taken from a video, whatever its length", gt=0)
    fps_min_frames: int = field(4, "fewest frames of a video, for --fps", gt=0)
    fps_max_frames: int = field(768, "most frames of a video, for --fps", gt=0)
