"""What stands at a cluster's address may be anything: one message, in time."""

import subprocess
import sys

import pytest

pytest.importorskip("distributed")

CODE = r"""
import itertools, socket, threading
from concurrent.futures import ThreadPoolExecutor
from sdperf.errors import ConfigurationError
from sdperf.run.hosts import cluster

cluster._CONNECT_SPARE_S = 0.5

def serve(listening, answer, taken):
    while True:
        taken.append(listening.accept()[0])
        if answer:
            taken[-1].sendall(answer * 4000)

def connect(scheme, answer):
    listening, taken = socket.create_server(("127.0.0.1", 0)), []
    threading.Thread(target=serve, args=(listening, answer, taken), daemon=True).start()
    try:
        cluster.Cluster(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}", connect_s=0.1)
    except ConfigurationError as error:
        assert "no Dask scheduler answers" in str(error), error
        return f"refused {scheme} {answer.decode()}"

if __name__ == "__main__":
    pairs = itertools.product(("tcp", "tls"), (b"", b"garbage!"))
    with ThreadPoolExecutor(4) as pool:  # each waits until its limit
        print(*pool.map(lambda pair: connect(*pair), pairs), sep="\n", flush=True)
"""


def test_what_is_no_scheduler_is_refused(tmp_path):
    (tmp_path / "connecting.py").write_text(CODE)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "connecting.py")],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    expected = ["refused tcp ", "refused tcp garbage!", "refused tls ", "refused tls garbage!"]
    assert done.stdout.splitlines() == expected, done.stderr[-2000:]
    assert done.returncode == 0
