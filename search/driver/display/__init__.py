"""What a running search shows: a live table on a terminal, lines elsewhere, or nothing."""

from search.driver.display.displays import Display, LineDisplay, SilentDisplay
from search.driver.display.live_table import LiveDisplay

__all__ = ["Display", "LineDisplay", "LiveDisplay", "SilentDisplay"]
