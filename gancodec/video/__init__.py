"""Video and sound in and out through FFmpeg (PyAV), and clips made from nothing for tests."""
