"""An ordinary client beside the others: does it notice?"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import logstore
from tests.support.server_process import ServerProcess
from tests.torture.traffic import Client

INTERVAL = 0.02
# Of a round trip, in seconds: what nobody would call an outage on a machine of two busy cores.
DELAY_MAX = 2.0
MOST_DELAYS_MAX = 0.25  # 95 in 100
SLOWER_MAX = 4.0  # than beside it and before, where the machine is so busy that those are slow
ROUND_TRIP_MAX = 60.0
TOPIC = "canary"


class Canary(Client):
    """Sends one record at a time (acks=all), waits for it, and for its own consumer to see it.

    `delays`: seconds from send to seen, with the time of the sending. Any error ends it.
    """

    def __init__(self, address: str) -> None:
        super().__init__("canary", address)
        self.delays: list[tuple[float, float]] = []

    def work(self) -> None:
        with logstore.connect(self.address, config=self.config) as store:
            store.create_topic(TOPIC, exist_ok=True)
            with store.producer(linger_ms=0) as producer, store.consumer() as consumer:
                consumer.assign([(TOPIC, 0)])
                consumer.seek_to_end()
                while not self.stopping.is_set():
                    begun = time.monotonic()
                    offset = producer.send(TOPIC, value=b"canary").result(ROUND_TRIP_MAX).offset
                    while consumer.position(TOPIC, 0) <= offset:
                        consumer.poll(1.0)
                        if time.monotonic() - begun > ROUND_TRIP_MAX:
                            raise AssertionError(f"offset {offset} is not seen")
                    self.delays.append((begun, time.monotonic() - begun))
                    self.stopping.wait(INTERVAL)

    def since(self, begun: float) -> list[float]:
        """The delays of what was sent since then, sorted. Raises what ended it."""
        if self.error is not None:
            raise self.error
        return sorted(delay for at, delay in self.delays[:] if at >= begun)


@dataclass(frozen=True, slots=True)
class Watched:
    """Delays of the same seconds, sorted: of the server that is tested, and of one beside it."""

    delays: list[float]
    beside: list[float]

    def is_unnoticed(self, usual: Watched) -> bool:
        """`usual`: of the seconds before whatever is not to be noticed."""
        references = (self.beside, usual.delays)
        slowest = max(DELAY_MAX, *(SLOWER_MAX * one[-1] for one in references))
        most = max(MOST_DELAYS_MAX, *(SLOWER_MAX * percentile(one, 95) for one in references))
        return self.delays[-1] <= slowest and percentile(self.delays, 95) <= most

    def __str__(self) -> str:
        return f"{show(self.delays)} (beside it: {show(self.beside)})"


class Canaries:
    """A canary on the server that is tested, and one on a server that has no other client.

    Where the machine has much else to do, both are slow; what is done to the one server is no
    reason for the other. Both run while the with block does.
    """

    def __init__(self, address: str, directory: Path) -> None:
        self._beside = ServerProcess(directory / "beside", errors=directory / "beside.log")
        self._address = address
        self._canaries: list[Canary] = []

    def watch(self, seconds: float) -> Watched:
        """Of the next `seconds`, or longer until there is a round trip of both."""
        begun = time.monotonic()
        while True:
            time.sleep(0.1)
            tested, beside = (canary.since(begun) for canary in self._canaries)
            elapsed = time.monotonic() - begun
            if elapsed >= seconds and tested and beside:
                return Watched(tested, beside)
            if elapsed >= seconds + ROUND_TRIP_MAX:
                raise AssertionError(f"no round trip of an ordinary client in {elapsed:.0f} s")

    def __enter__(self) -> Canaries:
        self._beside.start()
        self._canaries = [Canary(self._address), Canary(self._beside.address)]
        for canary in self._canaries:
            canary.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for canary in self._canaries:
            canary.stopping.set()
        for canary in self._canaries:
            canary.join(ROUND_TRIP_MAX + 30)
        self._beside.kill()


def show(delays: list[float]) -> str:
    return (
        f"{len(delays)} round trips, median {1000 * percentile(delays, 50):.1f} ms, "
        f"95% {1000 * percentile(delays, 95):.1f} ms, slowest {1000 * delays[-1]:.1f} ms"
    )


def percentile(delays: list[float], percent: int) -> float:
    return delays[min(len(delays) - 1, len(delays) * percent // 100)]


def memory_bytes(pid: int) -> int:
    """Resident and its own: what it maps of its files is the page cache's."""
    resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def open_sockets(pid: int) -> int:
    found = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
    return found
