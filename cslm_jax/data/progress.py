"""What `cslm prepare` shows while it works: hours, speed against real time, which shard of how many, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import Future

from tqdm import tqdm

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Rejected
from cslm_jax.data.records import Record


def size(corpus: CorpusConfig, shard_items: int, worker: int, workers: int, done: Collection[int]) -> tuple[int, int]:
    """Shards that a worker makes, and items in them. It reads all transcripts, so it runs beside the work."""
    items = sum(1 for _ in corpora.read(corpus))
    mine = [number for number in range(worker, -(-items // shard_items), workers) if number not in done]
    return len(mine), sum(min(shard_items, items - number * shard_items) for number in mine)


class Progress:
    """A bar for one corpus.

    Args:
        count: begins to work out `size`, elsewhere; called when there is anything to do.
    """

    def __init__(self, name: str, count: Callable[[], Future[tuple[int, int]]] | None = None):
        self._bar = tqdm(desc=f"records of {name}", unit=" items", unit_scale=True)
        self._seconds, self._rejected, self._shards, self._started = 0.0, 0, 0, time.monotonic()
        self._count, self._size = count, None
        self._of = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_) -> None:
        if self._size is not None:
            self._size.cancel()
        self._bar.close()

    def begin_shard(self) -> None:
        self._shards += 1
        if self._shards == 1 and self._count is not None:
            self._size = self._count()

    def _look_at_size(self) -> None:
        """Once it is known, the bar says how much, and with it how long, is left."""
        if self._size is not None and self._size.done():
            if not self._size.exception():  # what is wrong with the corpus, its reader tells here too
                shards, self._bar.total = self._size.result()
                self._of = f" of {shards}"
            self._size = None

    def count(self, result: Record | Rejected) -> Record | Rejected:
        if isinstance(result, Rejected):
            self._rejected += 1
        else:
            self._seconds += sum(speech.seconds for speech in result.speeches())
        self._look_at_size()
        speed = self._seconds / (time.monotonic() - self._started)
        shown = [f"shard {self._shards}{self._of}", f"{self._seconds / 3600:.2f} h", f"{speed:.0f} x real time"]
        self._bar.set_postfix_str(", ".join([*shown, f"{self._rejected} rejected"]), refresh=False)
        self._bar.update()
        return result
