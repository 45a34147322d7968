"""A workflow and a step for each of many types: what goes in comes out, typed."""

import dataclasses
import decimal
import enum
import uuid
from datetime import date, datetime, timedelta, timezone
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mcp_agent import workflow
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from tests.behaviour.desk import app

T = TypeVar("T")


class Size(enum.IntEnum):
    SMALL = 1


class Shape(enum.Enum):
    ROUND = "round"


@dataclasses.dataclass
class Blob:
    data: bytes
    weight: float = 1.0


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    tricks: list[str]


class Box(BaseModel, Generic[T]):
    content: T


class Raw(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


ANIMAL = Annotated[Cat | Dog, Field(discriminator="kind")]
BYTES = b"\xff\x00\x7f"
EAST = timezone(timedelta(hours=9))
VALUES: dict[str, tuple[Any, Any]] = {
    "text": ("ä\n\u2028", str),
    "number": (2**53, int),
    "flag": (True, bool),
    "nothing": (None, None),
    "decimal": (decimal.Decimal("1.10"), decimal.Decimal),
    "infinite": (float("inf"), float),
    "bytes": (BYTES, bytes),
    "several_bytes": ([BYTES, b""], list[bytes]),
    "bytes_or_nothing": (BYTES, bytes | None),
    "moment": (datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=EAST), datetime),
    "day": (date(2026, 1, 2), date),
    "span": (timedelta(days=1, microseconds=5), timedelta),
    "id": (uuid.UUID(int=7), uuid.UUID),
    "int_enum": (Size.SMALL, Size),
    "enum": (Shape.ROUND, Shape),
    "tuple": ((1, "a"), tuple[int, str]),
    "set": ({1, 2}, set[int]),
    "mapping": ({date(2026, 1, 2): [1]}, dict[date, list[int]]),
    "dataclass": (Blob(BYTES, float("-inf")), Blob),
    "dataclasses": ({"a": [Blob(BYTES)]}, dict[str, list[Blob]]),
    "model": (Cat(lives=9), Cat),
    "model_with_bytes": (Raw(data=BYTES), Raw),
    "generic": (Box[Size](content=Size.SMALL), Box[Size]),
    "union": (Dog(tricks=["sit"]), Cat | Dog),
    "tagged_union": ([Cat(lives=9), Dog(tricks=[])], list[ANIMAL]),
    "plain_union": ([1, "1"], list[int | str]),
}


def same(value: Any, other: Any) -> bool:
    """Equal, and of the same class."""
    return value == other and type(value) is type(other)


def _carry(kind: str, expected: Any, type_: Any) -> type[Workflow[Any]]:
    async def step(value: Any) -> Any:
        assert same(value, expected), value
        return value

    step.__annotations__ = {"value": type_, "return": type_}
    carry = app.workflow_task(name=f"values.{kind}")(step)

    class Carries(Workflow[Any]):
        """Has the value carried by a step, takes it in a signal and an update, and returns it."""

        def __init__(self) -> None:
            self.signalled: list[Any] = []

        async def tell(self, value: Any) -> None:
            self.signalled.append(value)

        async def change(self, value: Any) -> Any:
            assert same(value, expected), value
            return value

        async def run(self, value: Any) -> Any:
            assert same(value, expected), value
            await workflow.wait_condition(lambda: bool(self.signalled))
            assert same(self.signalled[0], expected), self.signalled
            carried = await carry(value)
            assert same(carried, expected), carried
            return WorkflowResult(value=carried)

        for method, returned in ((tell, None), (change, type_), (run, WorkflowResult[type_])):
            method.__annotations__.update({"value": type_, "return": returned})
            method.__qualname__ = f"Carries_{kind}.{method.__name__}"
        tell, change, run = workflow.signal(tell), workflow.update(change), app.workflow_run(run)

    Carries.__qualname__ = Carries.__name__ = f"Carries_{kind}"
    globals()[Carries.__name__] = Carries
    return app.workflow(Carries)


WORKFLOWS = {kind: _carry(kind, value, type_) for kind, (value, type_) in VALUES.items()}


@app.workflow_task(name="values.local", local=True, start_to_close_timeout=timedelta(seconds=5))
async def local(number: int) -> int:
    return number + 1


@app.workflow_task(
    name="values.local-flaky", local=True, retry_policy=workflow.RetryPolicy(timedelta(milliseconds=10), maximum_attempts=3)
)
def flaky_local(tries: list[int]) -> int:
    ATTEMPTS.append(1)
    if len(ATTEMPTS) % 3:
        raise ConnectionError("not yet")
    return sum(tries)


ATTEMPTS: list[int] = []


@app.workflow
class Locals(Workflow[list[int]]):
    """Ten local steps, and one that fails twice."""

    @app.workflow_run
    async def run(self) -> list[int]:
        number = 0
        for _ in range(10):
            number = await local(number)
        return [number, await flaky_local([1, 2])]


@app.workflow_task(name="values.liar")
async def liar() -> int:
    return "no number"  # type: ignore[return-value]


@app.workflow_task(name="values.sum")
async def add_all(first: int, *more: int) -> int:
    return first + sum(more)


@app.workflow
class Liar(Workflow[int]):
    """Has a value of the wrong type somewhere."""

    @workflow.signal
    async def word(self, text: str, times: int = 1) -> None: ...

    @workflow.update
    async def number(self, number: int) -> int:
        return number

    @workflow.query
    def asked(self, number: int) -> int:
        return number

    @app.workflow_run
    async def run(self, how: str) -> WorkflowResult[int]:
        match how:
            case "result of a step":
                await liar()
            case "argument of a step":
                await local("one")  # type: ignore[arg-type]
            case "too many":
                await workflow.execute_activity(local, args=[1, 2])
            case "any number":
                return WorkflowResult(value=await add_all(1, 2, 3))
            case "wait":
                await workflow.wait_condition(lambda: False)
            case _:
                pass
        return WorkflowResult(value="no number")  # type: ignore[arg-type]
