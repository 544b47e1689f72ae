"""The process behind `flows.api.ApiServer`: Prefect's server under uvicorn, with our settings of the collector.

Belongs here: starting it. Does not belong here: when it runs (`flows.api`).
"""

from __future__ import annotations

import gc
import sys
import threading
import time

from oncurate.garbage import relax, settle

COLLECT_SECONDS = 10.0
"""Between two looks for cyclic garbage; a server that records one run makes few MB of it in that time."""
KEEP_ALIVE_SECONDS = 60
"""How long an idle connection stays open. uvicorn's 5 s are also those of Prefect's HTTP client: a request sent just as
the server closes is lost and asked again 2 s later. With more here it is always the client that closes."""


def main() -> None:
    """Serve on the loopback port that the one argument names, until told to end."""
    relax()
    collect_apart(COLLECT_SECONDS)
    import uvicorn

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="error",
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )


def collect_apart(seconds: float) -> None:
    """Look for cyclic garbage in a thread of its own, every so many seconds, and in no other thread.

    The event loop must not free a cursor that a failed statement left behind: SQLite makes it wait for the cursor's
    connection. Where another thread waits there for the write lock, and its holder for the event loop, nothing moves
    until Prefect's busy timeout of 60 s is over, and a run that takes seconds takes a minute more.
    """
    gc.disable()
    threading.Thread(target=_collect, args=(seconds,), name="collector", daemon=True).start()


def _collect(seconds: float) -> None:
    while True:
        time.sleep(seconds)
        settle()  # the first time only: what starting the server made is not looked at again
        gc.collect()


if __name__ == "__main__":
    main()
