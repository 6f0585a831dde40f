"""Config: all settings of a run, their documentation, and how they are read and checked.

Takes YAML files and "section.key=value" items. Gives a `Config`, frozen and checked, with one
section for each consumer, or a `UserError` that names the key, the value and the remedy.

May import: `records`, `errors`, `streams`. Nothing here imports PyTorch, so that settings load in
an instant; a test says so.

To add a setting, write a field with a docstring of whole sentences that say what it means and in
which unit: `declutch settings` and docs/reference/settings.md are made of it. A rule about one
section is a validator of that section; a rule across sections stands in `run.py`. Whoever renames a
setting adds a line to `renamed.RENAMED`.
"""
