"""A look at everything at once: Prefect with its UI, an S3 server, a work pool with a worker, the demo deployment.

Belongs here: starting these on the loopback address for one person, and ending them together. Does not belong here:
production, where each of them is a service of its own (`deployments/`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from flows.demo import SECRET, lay_out
from flows.s3server import S3Server

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".serve"
PORT = int(os.environ.get("ONCURATE_SERVE_PORT", "4200"))
READY_SECONDS = 120
"""A new database is migrated at the first start, which takes 6-16 s on two cores."""
CREDENTIALS = ("oncurate-look", "oncurate-look-on-loopback-only")
"""Not secret: the server listens on the loopback address and holds public images."""


def main() -> None:
    """Start everything, say where it is, and wait for Ctrl-C."""
    lay_out(FOLDER / "archive")
    prefect = str(Path(sys.executable).with_name("prefect"))
    environment = {
        **os.environ,
        "PREFECT_HOME": str(FOLDER / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{PORT}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "ONCURATE_HOME": str(ROOT),
        "ONCURATE_SECRET": os.environ.get("ONCURATE_SECRET", SECRET),
    }
    started: list[subprocess.Popen[bytes]] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with S3Server(FOLDER / "s3", credentials=CREDENTIALS) as s3, open(FOLDER / "prefect.log", "ab") as log:
        environment.update(s3.environment)

        def start(*command: str) -> None:
            started.append(subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log))

        def run(*command: str) -> None:
            subprocess.run(command, env=environment, cwd=ROOT, stdout=log, stderr=log, check=True)

        try:
            start(prefect, "server", "start", "--host", "127.0.0.1", "--port", str(PORT))
            _wait(f"http://127.0.0.1:{PORT}/api/health", started[0])
            run(prefect, "work-pool", "create", "oncurate", "--type", "process", "--overwrite")
            run(prefect, "--no-prompt", "deploy", "--prefect-file", "deployments/prefect.yaml", "--all")
            start(prefect, "worker", "start", "--pool", "oncurate")
            _say(environment, s3)
            while all(process.poll() is None for process in started):
                time.sleep(1)
            print(f"a service ended; see {FOLDER / 'prefect.log'}", file=sys.stderr)
        except KeyboardInterrupt:
            print("stopping")
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                try:
                    process.wait(timeout=15)
                except subprocess.TimeoutExpired:  # a worker may wait for a run that hangs
                    process.kill()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise SystemExit(f"the Prefect server did not start; see {FOLDER / 'prefect.log'}")


def _say(environment: dict[str, str], s3: S3Server) -> None:
    print(f"Prefect UI      http://127.0.0.1:{PORT}")
    print(f"S3 endpoint     {s3.endpoint}   buckets {', '.join(s3.buckets)}")
    print("Run the demo    in the UI: Deployments, curate/demo, Run; or in another shell:\n")
    for name in ("PREFECT_API_URL", "ONCURATE_SECRET", *s3.environment):
        print(f"  export {name}={environment[name]}")
    print("  .venv/bin/prefect deployment run curate/demo --watch")
    print("\nCtrl-C ends everything.", flush=True)


if __name__ == "__main__":
    main()
