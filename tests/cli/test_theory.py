"""`declutch theory`: claims chosen, numbers moved and written, and what is refused."""

import json

import pytest
from typer.testing import CliRunner

from declutch.cli.main import app
from declutch.cli.theory import split_numbers_at
from declutch.ground.errors import UserError


def test_a_claim_is_checked_and_written(tmp_path):
    path = tmp_path / "claims.json"
    given = ["theory", "--claim", "RM-A.2-simplex", "--at", "q=0.2", "--json", str(path)]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    (claim,) = json.loads(path.read_text(encoding="utf-8"))["claims"]
    assert (claim["id"], claim["verdict"]) == ("RM-A.2-simplex.all", "holds")
    assert claim["numbers"]["value"] == pytest.approx(2 - 0.4 - 0.4)
    assert "Verdict: holds." in result.output


@pytest.mark.parametrize("item", ["q", "q=", "q=x", "=1", "q=nan", "q=inf"])
def test_what_is_no_number_is_refused(item):
    with pytest.raises(UserError, match="is no NAME=VALUE"):
        split_numbers_at([item])
    assert split_numbers_at(["q=0.5", "p=1e-3"]) == {"q": 0.5, "p": 0.001}
