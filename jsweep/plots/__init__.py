"""Pictures, drawn with Matplotlib (the extra "plots")."""
