"""What every section of the configuration is made of."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of the settings. A key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


PLAIN = "plain"
Plain = Tag(PLAIN)


def plain_or(section: type[Section]) -> Discriminator:
    """For a key that takes a plain value or a section: what is wrong is told of the one that was meant.

    `Annotated[Annotated[bool, Plain] | Annotated[TLSSettings, Tag("TLSSettings")], plain_or(TLSSettings)]`
    """
    return Discriminator(lambda value: section.__name__ if isinstance(value, dict | section) else PLAIN)


def _an_address(text: str) -> str:
    address = urlsplit(text)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError("give an address like `https://host/path`.")
    return text


Address = Annotated[str, AfterValidator(_an_address)]
