"""Lists, page by page."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import urlencode

from kube.transport import Obj

PAGE: Final = 500
"""Objects in one page of a list; kubectl's own chunk size."""


def pages(
    get: Callable[[str], Obj], path: str, query: Mapping[str, str] | None = None, *, limit: int = PAGE
) -> Iterator[Obj]:
    """The pages of a list: a server may give fewer objects in one than it was asked for.

    Args:
        get: asks for a path; whatever it raises goes through.
        path: of the collection, for example "/api/v1/pods".
        query: for example {"labelSelector": "app=web"}.
        limit: objects in a page, at most.
    """
    asked = {"limit": str(limit), **(query or {})}
    while True:
        page = get(f"{path}?{urlencode(asked)}")
        yield page
        asked["continue"] = str((page.get("metadata") or {}).get("continue") or "")
        if not asked["continue"]:
            return
