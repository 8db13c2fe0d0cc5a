"""The control process: keeps the snapshot in step with the lab file, and answers whether all is well.

The lab file is looked at in a fixed rhythm. What is wrong with it is logged and shown, and the last
good snapshot stays in force; the packet plane never waits for this process and does not notice
when it is gone. It also keeps the logs of all processes short.
"""

import json
import logging
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hyperplane.errors import ConfigurationError
from hyperplane.io.health import health
from hyperplane.io.logs import OLD_SUFFIX, bound_logs
from hyperplane.io.processes import ProcessFiles, say_ready
from hyperplane.io.reconcile import reconcile
from hyperplane.limits import LAB_FILE_BEAT_S, LOG_BYTES_MAX
from netns.namespace import NamespaceMissing
from netns.validate import TopologyError

_log = logging.getLogger("hyperplane.control")

_REFUSED = "the lab file is not taken, the last good snapshot stays in force"
_NOT_YET = "the lab file is not in force yet, to be tried again"

HEALTH_PATH = "/_hyperplane/health"


class Control:
    """Follows one lab file."""

    def __init__(self, lab: Path, runtime: Path) -> None:
        self._lab = lab
        self._runtime = runtime
        self._seen: tuple[int, int] | None = None
        self.problem: str | None = None
        """Why the lab file as it stands is not in force; None if it is."""
        self._log_trouble: str | None = None

    def poll(self) -> None:
        """Reconcile if the file has changed since the last look, or if the machine would not do it then."""
        try:
            status = self._lab.stat()
        except OSError as error:
            self._seen = None
            self._tell(_REFUSED, str(error))
            return
        seen = (status.st_mtime_ns, status.st_size)
        if seen == self._seen:
            return
        try:
            done = reconcile(self._lab, self._runtime, time.monotonic())
        except (ConfigurationError, TopologyError) as error:
            self._seen = seen  # as long as the file says this, it is wrong
            self._tell(_REFUSED, str(error))
            return
        except NamespaceMissing as error:
            self._tell(_NOT_YET, f"the namespace {error} has just gone")
            return
        except OSError as error:
            self._tell(_NOT_YET, str(error))
            return
        self._seen = seen
        self.problem = None
        for change in done.changes:
            _log.info("%s", change)
        if done.snapshot_changed:
            _log.info("snapshot %d is in force", done.snapshot.version)

    def bound_logs(self) -> None:
        """Keep the logs of all processes of the lab within their bound."""
        try:
            for log in bound_logs(ProcessFiles(self._runtime).logs, LOG_BYTES_MAX):
                _log.info("%s was cut, its end is in %s", log, log.with_suffix(OLD_SUFFIX))
            self._log_trouble = None
        except OSError as error:  # the memory is full, or somebody cleans up; it is tried again at the next beat
            if str(error) != self._log_trouble:
                _log.error("a log could not be cut: %s", error)
            self._log_trouble = str(error)

    def _tell(self, what: str, problem: str) -> None:
        if problem != self.problem:
            _log.error("%s: %s", what, problem)
        self.problem = problem

    def answer(self) -> tuple[int, dict[str, object]]:
        """HTTP status and body of the health page."""
        found = health(self._runtime)
        body = found.as_dict() | {"lab_file": str(self._lab), "lab_problem": self.problem}
        return (200 if found.healthy and self.problem is None else 503), body


def _handler(control: Control) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One request."""

        protocol_version = "HTTP/1.1"
        server_version = "hyperplane"

        def do_GET(self) -> None:
            status, answer = control.answer() if self.path == HEALTH_PATH else (404, {"message": "not found"})
            body = (json.dumps(answer, indent=2) + "\n").encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, template: str, *args: object) -> None:
            _log.debug(template, *args)

    return Handler


def run_control(lab: Path, runtime: Path, address: str, port: int) -> int:
    """Serve until told to stop. Raises OSError when the port is taken."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before the threads start, so that only this one hears them
    control = Control(lab, runtime)
    control.poll()
    server = ThreadingHTTPServer((address, port), _handler(control))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _log.info("http://%s:%d%s, lab file %s, pid %d", address, port, HEALTH_PATH, lab, os.getpid())
    say_ready()
    while signal.sigtimedwait(signals, LAB_FILE_BEAT_S) is None:
        control.poll()
        control.bound_logs()
    server.shutdown()
    return 0
