"""How a run takes part when another version of its workflow's code is served. Of Temporal; the other engine has one version."""

from __future__ import annotations

import typing
from typing import Literal

Versioning = Literal["pinned", "auto_upgrade"]
"""`pinned`: a run ends on the version that it began on. `auto_upgrade`: it goes over to the current one."""

VERSIONINGS: tuple[Versioning, ...] = typing.get_args(Versioning)
