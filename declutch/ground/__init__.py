"""The ground: what every room stands on, and what knows nothing of agents or learning.

In: bytes of files, seeds, commands. Out: `errors` with the one error that a user sees, `streams`
with the seeds of random streams, `files` that are written as a whole or not at all, `contents` of
files that come out as a value or one error, `children` that end when their parent does, `extras`
with the command that installs what is missing.

It imports nothing of the package but itself.

To add a file: something that at least three rooms need, that no library has, and that could be
understood by a reader who has never heard of a language model.
"""
