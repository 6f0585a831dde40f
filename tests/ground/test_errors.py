"""Errors that a user sees, and their causes in a few words."""

from declutch.ground.errors import error_reason


def test_reasons_are_short() -> None:
    assert error_reason(OSError(28, "No space left on device")) == "No space left on device"
    assert error_reason(ValueError("first\nsecond")) == "first"
    assert error_reason(KeyError()) == "KeyError"
