"""The SDKs of Anthropic and OpenAI for Node, called by `node/client.mjs`."""

import json
import subprocess
import types
import unittest

import support
from contract import REJECTION, Contract

if not support.NODE:
    raise unittest.SkipTest(support.NO_NODE)


class Failed(Exception):
    """What a call of the SDK threw."""

    def __init__(self, told):
        super().__init__(told["message"])
        self.classes = told["classes"]
        self.status, self.type, self.code = (told.get(key) for key in ("status", "type", "code"))
        self.body = told.get("body")
        self.response = types.SimpleNamespace(headers=told["headers"])


class Node(Contract):
    """One process makes all calls of a class, one after the other."""

    sdk = None
    # How the answer of a helper ends.
    ended = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.node = subprocess.Popen(
            [support.NODE, str(support.NODE_SDKS / "client.mjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        cls.addClassCleanup(cls.leave)

    @classmethod
    def leave(cls):
        # The end of its input ends it.
        cls.node.communicate(timeout=30)

    def client(self, base_url, cluster=None):
        asked = {"sdk": self.sdk, "baseURL": base_url, "cluster": cluster}
        return types.SimpleNamespace(asked={**asked, "key": support.CLIENT_KEY}, close=lambda: None)

    def call(self, client, method):
        self.node.stdin.write(json.dumps({**client.asked, "method": method}) + "\n")
        self.node.stdin.flush()
        for line in self.node.stdout:
            line = json.loads(line)
            if "failed" in line:
                raise Failed(line["failed"])
            if "ended" in line:
                return line["ended"]
            yield line["text"]
        raise AssertionError("node ended by itself")

    def ask(self, client):
        return "".join(self.call(client, "ask"))

    def stream(self, client):
        yield from self.call(client, "stream")

    def helper(self, client):
        ended = yield from self.call(client, "helper")
        self.assertEqual(ended, self.ended)

    def assert_upstream_auth_failed(self, error):
        self.assertIn("InternalServerError", error.classes)
        self.assertEqual(error.status, 502)

    def assert_rejection(self, error):
        self.assertIn("BadRequestError", error.classes)
        self.assertIn(REJECTION, str(error))

    def assert_rate_limit(self, error):
        self.assertIn("RateLimitError", error.classes)
        self.assertEqual(error.type, "rate_limit_error")


class Messages(Node, unittest.TestCase):
    kind = "anthropic"
    sdk = "messages"
    ended = "end_turn"

    def assert_interruption(self, error):
        self.assertIn("APIError", error.classes)
        self.assertNotIn("APIConnectionError", error.classes)
        self.assertEqual(error.type, "overloaded_error")

    def assert_upstream_auth_failed(self, error):
        super().assert_upstream_auth_failed(error)
        self.assertEqual(error.body["error"]["code"], "upstream_auth_failed")


class OpenAi(Node):
    kind = "openai"
    interrupted = None

    def assert_interruption(self, error):
        self.assertIn("APIError", error.classes)
        self.assertNotIn("APIConnectionError", error.classes)
        self.assertEqual(error.code, self.interrupted)

    def assert_upstream_auth_failed(self, error):
        super().assert_upstream_auth_failed(error)
        self.assertEqual(error.code, "upstream_auth_failed")


class Chat(OpenAi, unittest.TestCase):
    sdk = "chat"
    ended = "stop"
    interrupted = "upstream_stream_interrupted"


class Responses(OpenAi, unittest.TestCase):
    sdk = "responses"
    ended = "completed"
    interrupted = "server_error"


if __name__ == "__main__":
    unittest.main()
