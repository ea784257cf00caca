"""The colours of every picture."""

# Okabe and Ito's palette, whose colours are distinguishable with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
