"""A run folder as one self-contained page."""

from declutch.report.build import build_report

__all__ = ["build_report"]
