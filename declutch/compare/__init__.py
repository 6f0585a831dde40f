"""Several methods over several seeds: the grid of `declutch compare`, and its tables.

Takes configurations and a folder; gives trained runs in it, tables of their success, paired
differences and learning curves, and a page. `grid` plans the runs and checks them against what
lies in the folder, `launch` trains them in processes of their own, `progress` shows how they get
on, `runs` reads them back and picks the evaluations that stand against each other, `sheets` has
the tables, and `page` puts them with the curves on one HTML page.

May import `report`, `train`, `runs` and the rooms before them. Another table is a function in
`sheets` that returns a `Sheet`, and a line in `all_sheets`, which also fixes the page's order.
"""
