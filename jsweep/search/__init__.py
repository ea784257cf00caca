"""Searches: what chooses configs from a space.

The modules of this package are private: users import its names from `jsweep`.
"""
