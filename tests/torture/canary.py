"""An ordinary client beside the others: does it notice?"""

from __future__ import annotations

import os
import time
from pathlib import Path

import logstore
from tests.torture.traffic import Client

INTERVAL = 0.02
# Of a round trip, in seconds: what nobody would call an outage on a machine of two busy cores.
DELAY_MAX = 2.0
MOST_DELAYS_MAX = 0.25  # 95 in 100
TOPIC = "canary"


class Canary(Client):
    """Sends one record at a time (acks=all), waits for it, and for its own consumer to see it.

    `delays`: seconds from send to seen, with the time of the sending. Any error ends it.
    """

    def __init__(self, address: str) -> None:
        super().__init__("canary", address)
        self.delays: list[tuple[float, float]] = []

    def work(self) -> None:
        with logstore.connect(self.address) as store:
            store.create_topic(TOPIC, exist_ok=True)
            with store.producer(linger_ms=0) as producer, store.consumer() as consumer:
                consumer.assign([(TOPIC, 0)])
                consumer.seek_to_end()
                while not self.stopping.is_set():
                    begun = time.monotonic()
                    offset = producer.send(TOPIC, value=b"canary").result(60).offset
                    while consumer.position(TOPIC, 0) <= offset:
                        consumer.poll(1.0)
                        if time.monotonic() - begun > 60:
                            raise AssertionError(f"offset {offset} is not seen")
                    self.delays.append((begun, time.monotonic() - begun))
                    self.stopping.wait(INTERVAL)

    def watch(self, seconds: float) -> list[float]:
        """The delays of the next `seconds`, sorted. Raises what ended it."""
        begun = time.monotonic()
        while time.monotonic() < begun + seconds and self.is_alive():
            time.sleep(0.1)
        if self.error is not None:
            raise self.error
        delays = sorted(delay for at, delay in self.delays if at >= begun)
        if not delays:
            raise AssertionError(f"no round trip of an ordinary client in {seconds} s")
        return delays


def show(delays: list[float]) -> str:
    return (
        f"{len(delays)} round trips, median {1000 * percentile(delays, 50):.1f} ms, "
        f"99% {1000 * percentile(delays, 99):.1f} ms, slowest {1000 * delays[-1]:.1f} ms"
    )


def is_unnoticed(delays: list[float]) -> bool:
    return delays[-1] <= DELAY_MAX and percentile(delays, 95) <= MOST_DELAYS_MAX


def percentile(delays: list[float], percent: int) -> float:
    return delays[min(len(delays) - 1, len(delays) * percent // 100)]


def memory_bytes(pid: int) -> int:
    """Resident."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
