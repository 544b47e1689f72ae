"""The process behind `flows.api.ApiServer`: Prefect's server under uvicorn, with our settings of the collector.

Belongs here: starting it. Does not belong here: when it runs (`flows.api`).
"""

from __future__ import annotations

import sys

from oncurate.garbage import relax


def main() -> None:
    """Serve on the loopback port that the one argument names, until told to end."""
    relax()
    import uvicorn

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="error",
        lifespan="on",
    )


if __name__ == "__main__":
    main()
