"""The diagnostics of gradient coupling: how learning from one sample moves the others.

Takes models, labelled samples, run folders and evaluations; gives `Sheet`s and figure data
(`figure_data`), and writes no page of its own. A diagnostic is one file. `figure_data` is a figure
as data before it is drawn, `figures` draws it as PNG, SVG, PDF and CSV, `paper` lists every table
and figure of the papers GC and RM with what makes it here, and `theory/` computes what their
lemmas and theorems claim.

May import `report`, `runs`, `evaluation` and the rooms before them. Another diagnostic is one file
with a function that measures and functions that return a `Sheet` and figure data.
"""
