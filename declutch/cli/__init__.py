"""Cli: the command line `declutch`, one file for each command.

Takes a command line. Gives one call into the rooms, tables and lines on the terminal, and one clear
line for every error of a user.

May import: every other room. A file imports at its top only what `declutch COMMAND --help` needs,
so that help and wrong options are answered at once; all else is imported where the command runs,
after it has read its settings, so that a wrong setting is answered soon as well.

To add a command, write one file like `report.py`, or like `play.py` where it takes settings, and
name its function in `main.COMMANDS`. Options that stand for settings are a subclass of
`options.GivenSettings`; other options that belong together are one dataclass. Then run
`python -m declutch.cli.reference docs/reference`.
"""
