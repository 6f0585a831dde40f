"""Print the lower end of every requirement of the package, as exact versions, without PyTorch.

`make test-lowest` installs them, so that the ranges in pyproject.toml do not promise too much.
"""

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
SERVE = PROJECT["optional-dependencies"]["serve"]

if __name__ == "__main__":
    for requirement in PROJECT["dependencies"] + SERVE:
        name, bound = re.fullmatch(r"([\w.-]+)>=([\d.]+).*", requirement).groups()
        if name != "torch":
            print(f"{name}=={bound}")  # noqa: T201
