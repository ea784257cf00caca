"""Data: arrays, splits, loaders and the order of examples. Private, except for what `jsweep` lists."""
