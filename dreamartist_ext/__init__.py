"""DreamArtist: teach Stable Diffusion a concept from one picture (arXiv 2211.11337)."""

__version__ = "0.2.0"
