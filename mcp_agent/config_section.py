"""What every section of the configuration is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of the settings. A key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
