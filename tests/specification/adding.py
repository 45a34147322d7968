"""For what a block of the specification calls and does not show."""

from collections.abc import Callable
from typing import Any


def method_of(*classes: type) -> Callable[[Any], Any]:
    """Adds the function below it to classes as a method."""

    def add(function: Any) -> Any:
        for cls in classes:
            setattr(cls, function.__name__, function)
        return function

    return add
