"""``python -m jsweep``: the command line."""

from jsweep.cli import main

main()
