"""What stands at a cluster's address may be anything: one message, in time."""

import subprocess
import sys

import pytest

pytest.importorskip("distributed")

CODE = """
import socket, sys, threading
from sdperf.errors import ConfigurationError
from sdperf.run.hosts.cluster import Cluster

if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0))
    taken = []
    def serve():
        while True:
            taken.append(listening.accept()[0])
            if sys.argv[2]:
                taken[-1].sendall(sys.argv[2].encode() * 4000)
    threading.Thread(target=serve, daemon=True).start()
    try:
        Cluster(f"{sys.argv[1]}://127.0.0.1:{listening.getsockname()[1]}", connect_s=1.0)
    except ConfigurationError as error:
        assert "no Dask scheduler answers" in str(error), error
        print("refused")
"""


@pytest.mark.parametrize(
    ("scheme", "answer"), [("tcp", ""), ("tcp", "garbage!"), ("tls", ""), ("tls", "garbage!")]
)
def test_what_is_no_scheduler_is_refused(scheme, answer, tmp_path):
    (tmp_path / "connecting.py").write_text(CODE)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "connecting.py"), scheme, answer],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.stdout == "refused\n", done.stderr[-2000:]
    assert done.returncode == 0
