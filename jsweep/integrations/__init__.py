"""Adapters to other libraries and tools, one module each; each imports its own when it is used."""
