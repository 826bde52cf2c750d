"""The leaderboard as a static site: no server, no request to any other host, readable without JavaScript."""

from mibench.site.build import build_site
from mibench.site.library import Library, Method

__all__ = ["Library", "Method", "build_site"]
