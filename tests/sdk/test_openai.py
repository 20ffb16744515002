"""OpenAI Chat Completions and Responses through the `openai` SDK."""

import unittest

import openai

from contract import REJECTION, Contract
from support import CLIENT_KEY

MODEL = "gpt-simulated"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hello?"}]}
RESPONSE = {"model": MODEL, "input": "Hello?"}


class OpenAi(Contract):
    kind = "openai"

    def client(self, base_url, cluster=None):
        return openai.OpenAI(
            api_key=CLIENT_KEY,
            base_url=f"{base_url}/v1",
            max_retries=0,
            timeout=20,
            default_headers={"x-qcc-cluster": cluster} if cluster else None,
        )

    def assert_upstream_auth_failed(self, error):
        self.assertIsInstance(error, openai.InternalServerError)
        self.assertEqual(error.status_code, 502)
        self.assertEqual(error.code, "upstream_auth_failed")

    def assert_rejection(self, error):
        self.assertIsInstance(error, openai.BadRequestError)
        self.assertEqual(error.body["message"], REJECTION)

    def assert_rate_limit(self, error):
        self.assertIsInstance(error, openai.RateLimitError)
        self.assertEqual(error.type, "rate_limit_error")


class Chat(OpenAi, unittest.TestCase):
    def ask(self, client):
        [choice] = client.chat.completions.create(**CHAT).choices
        return choice.message.content

    def stream(self, client):
        for chunk in client.chat.completions.create(**CHAT, stream=True):
            for choice in chunk.choices:
                if choice.delta.content:
                    yield choice.delta.content

    def helper(self, client):
        with client.chat.completions.stream(**CHAT) as stream:
            for event in stream:
                if event.type == "content.delta" and event.delta:
                    yield event.delta
            [choice] = stream.get_final_completion().choices
            self.assertEqual(choice.finish_reason, "stop")

    def assert_interruption(self, error):
        self.assertIsInstance(error, openai.APIError)
        self.assertNotIsInstance(error, openai.APIConnectionError)
        self.assertEqual(error.code, "upstream_stream_interrupted")


class Responses(OpenAi, unittest.TestCase):
    # With an endpoint of kind `openai` alone.
    def ask(self, client):
        return client.responses.create(**RESPONSE).output_text

    def stream(self, client):
        for event in client.responses.create(**RESPONSE, stream=True):
            if event.type == "response.output_text.delta":
                yield event.delta

    def helper(self, client):
        with client.responses.stream(**RESPONSE) as stream:
            for event in stream:
                if event.type == "response.output_text.delta":
                    yield event.delta
            self.assertEqual(stream.get_final_response().status, "completed")

    def assert_interruption(self, error):
        self.assertIsInstance(error, openai.APIError)
        self.assertNotIsInstance(error, openai.APIConnectionError)
        self.assertEqual(error.code, "server_error")


if __name__ == "__main__":
    unittest.main()
