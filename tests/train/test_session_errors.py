"""Games that an environment breaks off are told with their reason, once they begin to."""

from dataclasses import replace
from pathlib import Path

import pytest
from builders import make_episode

from declutch.ground.errors import UserError
from declutch.records import Episode, Outcome
from declutch.rollout.groups import Played
from declutch.train.session import GameCount, Session, Silent

PLAYED = make_episode(0, [0.0, 1.0])


class Told(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def session() -> Session:
    parts = dict.fromkeys(
        ("config", "run", "suite", "cold_start", "learner", "suggester", "chat", "labeler", "clock")
    )
    return Session(**parts, watcher=Told(), trackers=None, iteration=6)  # type: ignore[arg-type]


def broken(error: str) -> Episode:
    return replace(make_episode(0, [], outcome=Outcome.ENV_ERROR), error=error)


def played(*episodes: Episode, refills: tuple[Episode, ...] = ()) -> Played:
    return Played(episodes, episodes, refills=refills)


def test_the_reason_of_broken_episodes_is_told_when_they_begin(session: Session) -> None:
    notes = session.watcher.notes
    session.check_played(played(PLAYED))
    assert notes == []
    session.check_played(played(PLAYED, broken("OSError: gone"), broken("KeyError: 'x'"), PLAYED))
    (note,) = notes
    assert note.startswith("iteration 7: 2 of 4 episodes ended in an environment error, the first:")
    assert "OSError: gone (task " in note
    assert "agent/env_errors" in note
    session.check_played(played(PLAYED, broken("OSError: gone")))
    assert len(notes) == 1
    session.check_played(played(PLAYED))
    session.check_played(played(PLAYED, broken("OSError: gone")))
    assert len(notes) == 2


def test_broken_games_of_an_evaluation_are_told_apart_from_those_of_training(
    session: Session,
) -> None:
    session.check_played(played(PLAYED, broken("OSError: gone")))
    count = GameCount(3, session.watcher)
    for episode in (PLAYED, broken("OSError: away"), PLAYED):
        count.add(episode)
    session.note_errors("evaluated games", count.errors, count.total)
    assert session.watcher.notes[1].startswith("iteration 6: 1 of 3 evaluated games ended in an")
    assert "OSError: away" in session.watcher.notes[1]


def test_what_broke_in_place_of_dropped_groups_is_told_as_well(session: Session) -> None:
    session.check_played(played(PLAYED, refills=(broken("OSError: gone"), PLAYED)))
    assert session.watcher.notes[0].startswith("iteration 7: 1 of 3 episodes ended")


def test_without_a_single_episode_the_run_ends_and_says_why(session: Session) -> None:
    with pytest.raises(UserError, match=r"all 2 episodes .* first: OSError: gone \(task"):
        session.check_played(played(*[broken("OSError: gone")] * 2))
    assert session.watcher.notes == []


@pytest.mark.parametrize("is_full", [False, True])
def test_an_error_stays_the_first_thing_said_where_what_was_learned_cannot_be_saved(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_full: bool
) -> None:
    saved = []

    def save(self: Session) -> None:
        if is_full:
            raise UserError("the disk is full")
        saved.append(self.iteration)

    monkeypatch.setattr(Session, "save", save)
    monkeypatch.setattr(Session, "checkpoint", tmp_path / "none")
    with pytest.raises(UserError, match=r"^the endpoint is away") as caught, session.kept():
        raise UserError("the endpoint is away")
    assert saved == ([] if is_full else [6])
    assert ("is lost, as it could not be saved: the disk is full" in str(caught.value)) == is_full
