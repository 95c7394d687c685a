"""gancodec: a learned video codec for people. See README.md."""

__version__ = "0.1.0"
