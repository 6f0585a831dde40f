"""Numbers shown to people: tables, the live view of a run, and a run folder as one HTML page.

Takes evaluations (`evaluation`), run folders (`runs.read`) and metrics while they are made; gives
`Sheet`s, the only kind of table in the package, and pages. `sheet` is a table as data, `cells`
makes cells of numbers, `drawers` draw a sheet on a terminal, as Markdown, HTML or CSV, `tables`
has the tables of evaluations, and `live` and `progress` are what a terminal shows while work is
under way. `build` puts a page together: each section is a function of `sections`, `success`,
`judging`, `labels` or `suggestions` that takes a run's data and returns a piece of HTML, drawn
from sheets; `static/` has the page's template, style and scripts.

May import `evaluation`, `runs` and the rooms before them. Another section is one file with a
function `NAME_section(data)`, a placeholder in `static/page.html` and a line in `build`; another
table is a function that returns a `Sheet`.
"""
