"""Anthropic Messages through the `anthropic` SDK."""

import unittest

import anthropic

from contract import REJECTION, Contract
from support import CLIENT_KEY

ASKED = {
    "model": "claude-simulated",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello?"}],
}


class Messages(Contract, unittest.TestCase):
    kind = "anthropic"

    def client(self, base_url, cluster=None):
        return anthropic.Anthropic(
            api_key=CLIENT_KEY,
            base_url=base_url,
            max_retries=0,
            timeout=20,
            default_headers={"x-qcc-cluster": cluster} if cluster else None,
        )

    def ask(self, client):
        [block] = client.messages.create(**ASKED).content
        return block.text

    def stream(self, client):
        for event in client.messages.create(**ASKED, stream=True):
            if event.type == "content_block_delta":
                yield event.delta.text

    def helper(self, client):
        with client.messages.stream(**ASKED) as stream:
            yield from stream.text_stream
            self.assertEqual(stream.get_final_message().stop_reason, "end_turn")

    def assert_interruption(self, error):
        self.assertIsInstance(error, anthropic.APIStatusError)
        self.assertEqual(error.body["error"]["type"], "overloaded_error")
        # Newer versions have the type at hand, too.
        self.assertEqual(getattr(error, "type", "overloaded_error"), "overloaded_error")

    def assert_upstream_auth_failed(self, error):
        self.assertIsInstance(error, anthropic.InternalServerError)
        self.assertEqual(error.status_code, 502)
        self.assertEqual(error.body["error"]["code"], "upstream_auth_failed")

    def assert_rejection(self, error):
        self.assertIsInstance(error, anthropic.BadRequestError)
        self.assertEqual(error.body["error"]["message"], REJECTION)

    def assert_rate_limit(self, error):
        self.assertIsInstance(error, anthropic.RateLimitError)
        self.assertEqual(error.body["error"]["type"], "rate_limit_error")


if __name__ == "__main__":
    unittest.main()
