"""Whatever becomes of a file on disk, its reader gives a value or one message."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import damage

TRAINED = ("report", "run's settings", "advice", "demonstrations")
"""Kinds of files that only a run writes; `benchmarks/damage.py` damages them as well."""
SMALL = [name for name in damage.KINDS if not name.startswith(TRAINED)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("scienceworld")
    pytest.importorskip("reasoning_gym")
    folder = tmp_path_factory.mktemp("whole")
    damage.build_small(folder)
    return folder


def test_every_kind_has_files(base: Path) -> None:
    assert all(damage.has_files(base, name) for name in SMALL)


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=st.sampled_from(SMALL), number=st.integers(0, 100_000))
def test_a_damaged_file_is_a_value_or_one_message(base: Path, name: str, number: int) -> None:
    result = damage.run_case(base, name, number)
    assert result.outcome in ("as before", "message", "another value"), result


def test_a_reader_that_fails_is_seen(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: a reader without its boundary is a traceback."""
    kind = damage.Kind("gold", "*/*/*.json", lambda folder: (1 / 0, (), []))
    monkeypatch.setitem(damage.KINDS, "broken", kind)
    monkeypatch.setattr(damage, "read_whole", lambda base, name: ("", (), []))
    assert damage.run_case(base, "broken", 1).outcome == "traceback"
