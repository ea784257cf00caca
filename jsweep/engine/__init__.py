"""The engine: tile programs, and workers that take tiles from a queue."""
