"""The four drawers of tables: each takes a `report.sheet.Sheet` and draws it in one format.

`terminal.draw_terminal` gives what rich prints and `draw_compact` the small form of live views,
`markdown.draw_markdown` a section of a Markdown file, `html.draw_html` a piece of a page, and
`csv.draw_csv` a file of its own with the numbers as they are. All of them show the same rows and
cells, which a test with arbitrary text holds them to, and none of them rounds or leaves out.

Drawers may import `report.sheet` alone. Another format is another file here with one function
`draw_FORMAT(sheet)`, and one more reader in tests/report/test_sheet_drawers.py.
"""
