"""Gemini through the `google-genai` SDK."""

import unittest

from contract import REJECTION, Contract
from support import CLIENT_KEY

try:
    from google import genai
    from google.genai import errors, types
except ImportError:
    # It supports no Python below 3.11.
    raise unittest.SkipTest("google-genai is not there") from None

MODEL = "gemini-simulated"


class Gemini(Contract, unittest.TestCase):
    kind = "gemini"

    # The first event of a stream has output.
    after_output = Contract.after_output | {
        "error-before-output",
        "cut-before-output",
        "stall-before-output",
    }

    def client(self, base_url, cluster=None):
        return genai.Client(
            api_key=CLIENT_KEY,
            http_options=types.HttpOptions(
                base_url=base_url,
                timeout=20_000,
                headers={"x-qcc-cluster": cluster} if cluster else None,
            ),
        )

    def ask(self, client):
        return client.models.generate_content(model=MODEL, contents="Hello?").text

    def stream(self, client):
        for chunk in client.models.generate_content_stream(model=MODEL, contents="Hello?"):
            if chunk.text:
                yield chunk.text

    def helper(self, client):
        chat = client.chats.create(model=MODEL)
        for chunk in chat.send_message_stream("Hello?"):
            if chunk.text:
                yield chunk.text
        [candidate] = chunk.candidates
        self.assertEqual(candidate.finish_reason, types.FinishReason.STOP)

    def assert_interruption(self, error):
        self.assertIsInstance(error, errors.ServerError)
        self.assertEqual((error.code, error.status), (503, "UNAVAILABLE"))

    def assert_upstream_auth_failed(self, error):
        self.assertIsInstance(error, errors.ServerError)
        self.assertEqual(error.code, 502)
        [info] = error.details["error"]["details"]
        self.assertEqual(info["reason"], "upstream_auth_failed".upper())

    def assert_rejection(self, error):
        self.assertIsInstance(error, errors.ClientError)
        self.assertEqual((error.code, error.message), (400, REJECTION))

    def assert_rate_limit(self, error):
        self.assertIsInstance(error, errors.ClientError)
        self.assertEqual((error.code, error.status), (429, "RESOURCE_EXHAUSTED"))


if __name__ == "__main__":
    unittest.main()
