"""The proxy and the simulated upstreams that the tests talk to.

Everything that depends on the command line, the configuration and the admin API is here.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("QCC", ROOT / "target" / "debug" / "qcc"))

# Where `scripts/test` installs the SDKs for Node, if there is a Node.
NODE_SDKS = ROOT / "tests" / "sdk" / "node"
NODE = shutil.which("node") if (NODE_SDKS / "node_modules").is_dir() else None
NO_NODE = "needs node and, in tests/sdk/node, `npm ci`"

# Into so many events the simulator cuts its text: enough for a stream to be cut after ten.
DELTAS = 20

# Short, so that an upstream that hangs does not hold up the tests.
TIMEOUTS = {"connect": "2s", "idle": "1s", "deadline": "20s"}
FIRST_BYTE = "1s"

CLIENT_KEY = "sk-test-client"


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A running qcc, with nothing in its environment but a home of its own."""

    def __init__(self, *arguments):
        self.home = tempfile.TemporaryDirectory()
        self.log = open(pathlib.Path(self.home.name) / "log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [str(BINARY), *arguments],
            cwd=self.home.name,
            env={"PATH": os.environ.get("PATH", ""), "HOME": self.home.name},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def wait_until(self, is_there, seconds=15):
        end = time.monotonic() + seconds
        while not is_there():
            if self.process.poll() is not None:
                raise AssertionError(f"qcc ended by itself:\n{self.output()}")
            if time.monotonic() > end:
                self.stop()
                raise AssertionError(f"qcc did not start:\n{self.output()}")
            time.sleep(0.05)

    def output(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def stop(self):
        """Ends it, gracefully if it does so in time."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def close(self):
        self.stop()
        self.log.close()
        self.home.cleanup()


def answers(port):
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Simulator:
    """`qcc simulate`: one upstream for each name in `behaviours`."""

    def __init__(self, behaviours):
        self.port = free_port()
        named = [f"--endpoint={name}={behaviour}" for name, behaviour in behaviours.items()]
        self.process = Process("simulate", f"--port={self.port}", f"--deltas={DELTAS}", *named)
        self.process.wait_until(lambda: answers(self.port))

    def url(self, name):
        return f"http://127.0.0.1:{self.port}/{name}"

    def close(self):
        self.process.close()


class Proxy:
    """`qcc serve`: `clusters` maps a name to endpoints of `simulator`, best first."""

    def __init__(self, kind, simulator, clusters):
        self.port, self.admin_port = free_port(), free_port()
        config = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": {"listen": f"127.0.0.1:{self.admin_port}"},
            "store": {"enabled": False},
            "clusters": {
                name: {
                    "kind": kind,
                    "timeouts": TIMEOUTS,
                    "endpoints": [
                        {
                            # Clusters that share an upstream share no state: another key each.
                            "name": endpoint,
                            "base_url": simulator.url(endpoint),
                            "api_key": f"sk-test-{name}-{endpoint}",
                            "priority": priority,
                            "timeout": FIRST_BYTE,
                        }
                        for priority, endpoint in enumerate(endpoints, start=1)
                    ],
                }
                for name, endpoints in clusters.items()
            },
        }
        self.file = tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False)
        with self.file as file:
            # All JSON is YAML.
            json.dump(config, file)
        self.process = Process("serve", f"--config={self.file.name}")
        self.process.wait_until(lambda: answers(self.port) and answers(self.admin_port))

    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def endpoint(self, cluster, name):
        """The state of an endpoint, from the admin API."""
        path = "/admin/v1/endpoints?limit=1000"
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5) as answer:
            items = json.load(answer)["items"]
        [found] = [i for i in items if (i["cluster"], i["name"]) == (cluster, name)]
        return found

    def idle_endpoint(self, cluster, name, seconds=5):
        """The same, once nothing is in flight there; the end of a stream takes a moment."""
        end = time.monotonic() + seconds
        while True:
            endpoint = self.endpoint(cluster, name)
            if endpoint["current_load"] == 0 or time.monotonic() > end:
                return endpoint
            time.sleep(0.05)

    def close(self):
        self.process.close()
        os.unlink(self.file.name)
