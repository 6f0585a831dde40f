"""Credit: what each step, or each token, of an iteration's episodes is worth.

Takes episodes, as the step table that `table.py` makes of them, and the settings of a method.
Gives advantages, one a step or one a response token. Knows no model, no tokenizer and no file.

May import: `records`, `errors`, `streams`, `files`, `config`.

To add a method, write one file like `rloo.py`: its advantage function, vectorised over integer
ids, and a `Method` that declares its settings and all that it needs. One line in
`config.algorithm.METHODS` then names it; a `Method` outside of the package needs no line, since
`algorithm.type=package.module:NAME` finds it. A slow and obvious version goes to `tests/oracles/`,
and a test has both agree.
"""
