"""How gunicorn serves. Measured, not guessed: docs/decisions.md has the figures."""

import multiprocessing
import os
import tempfile
from typing import Any

from prometheus_client import multiprocess

# The workers' counters, added up by whichever of them is asked (config/metrics.py).
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="tegoed-metrics-"))

bind = f"{os.environ.get('HOST', '0.0.0.0')}:{os.environ.get('PORT', '8000')}"  # noqa: S104 - behind the host's proxy
worker_class = "config.gunicorn_worker.BufferingWorker"
workers = int(os.environ.get("WEB_CONCURRENCY", multiprocessing.cpu_count()))
worker_connections = 800  # below the usual limit of 1,024 open files
sendfile = False  # what a client is slow to take is sent by the worker's loop (config/gunicorn_worker.py)
threads = int(os.environ.get("WEB_THREADS", "4"))
keepalive = 15  # seconds; API clients send many requests over one connection
timeout = 30
graceful_timeout = 30
max_requests = 50_000  # a worker is renewed now and then, whatever leaks
max_requests_jitter = 5_000
limit_request_line = 8_190
limit_request_field_size = 8_190
forwarder_headers = ""  # nobody's header says SCRIPT_NAME or PATH_INFO: FORCE_SCRIPT_NAME is a setting
accesslog = None  # every request is in the structured log already
wsgi_app = "config.wsgi:application"


def child_exit(_server: Any, worker: Any) -> None:
    """What a worker that ended had counted stays counted."""
    multiprocess.mark_process_dead(worker.pid)
