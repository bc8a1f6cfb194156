"""The official OpenAI SDK for Python, unmodified, through aigw. Every call carries its own request id for the ledger."""

import asyncio
import os
import unittest

import httpx2
import openai

GREETING = "Hello from the upstream: grüße, 東京"
QUESTION = [{"role": "user", "content": "Hello?"}]
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
# Base URL and key come from OPENAI_BASE_URL and OPENAI_API_KEY, as in any program.
client = openai.OpenAI(max_retries=0)


def known_as(request_id):
    return {"extra_headers": {"x-request-id": f"py-{request_id}"}}


class Answers(unittest.TestCase):
    def test_chat(self):
        raw = client.chat.completions.with_raw_response.create(model="sdk-chat", messages=QUESTION, **known_as("chat"))
        completion = raw.parse()
        self.assertEqual(completion.choices[0].message.content, GREETING)
        self.assertEqual(completion.usage.prompt_tokens_details.cached_tokens, 200)
        self.assertEqual(completion._request_id, "py-chat")
        self.assertEqual(raw.headers["x-aigw-provider"], "1-upstream")
        self.assertEqual(raw.headers["x-aigw-model"], "sdk-chat")
        self.assertEqual(raw.headers["x-aigw-attempts"], "1")
        self.assertEqual(raw.headers["x-aigw-cost-usd"], "0.00275")

    def test_chat_by_an_alias(self):
        completion = client.chat.completions.create(model="sdk", messages=QUESTION, **known_as("alias"))
        self.assertEqual(completion.choices[0].message.content, GREETING)

    def test_tools(self):
        completion = client.chat.completions.create(model="sdk-chat", messages=QUESTION, tools=[WEATHER], **known_as("tools"))
        self.assertEqual(completion.choices[0].finish_reason, "tool_calls")
        self.assertEqual(completion.choices[0].message.tool_calls[0].function.arguments, '{"city":"Paris"}')

    def test_legacy_completions(self):
        completion = client.completions.create(model="sdk-complete", prompt="Hello?", **known_as("complete"))
        self.assertEqual(completion.choices[0].text, GREETING)

    def test_embeddings(self):
        embeddings = client.embeddings.create(model="sdk-embed", input=["one", "two", "three"], **known_as("embed"))
        self.assertEqual([item.embedding for item in embeddings.data], [[0.25, -0.5, 1.0]] * 3)


class Streams(unittest.TestCase):
    def test_a_stream_without_usage_shows_none(self):
        with client.chat.completions.create(model="sdk-chat", messages=QUESTION, stream=True, **known_as("stream")) as stream:
            chunks = list(stream)
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in chunks), GREETING)
        self.assertTrue(all(chunk.choices and chunk.usage is None for chunk in chunks))
        self.assertEqual(chunks[-1].choices[0].finish_reason, "stop")

    def test_a_stream_with_usage_ends_with_it(self):
        chunks = list(
            client.chat.completions.create(
                model="sdk-chat",
                messages=QUESTION,
                stream=True,
                stream_options={"include_usage": True},
                **known_as("stream-usage"),
            )
        )
        self.assertEqual((chunks[-1].choices, chunks[-1].usage.total_tokens), ([], 1050))

    def test_a_stream_of_tool_arguments(self):
        chunks = client.chat.completions.create(
            model="sdk-chat", messages=QUESTION, tools=[WEATHER], stream=True, **known_as("stream-tools")
        )
        deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
        self.assertEqual("".join(call.function.arguments for call in deltas), '{"city":"Paris"}')

    def test_a_stream_of_legacy_completions(self):
        chunks = list(client.completions.create(model="sdk-complete", prompt="Hello?", stream=True, **known_as("complete-stream")))
        self.assertEqual("".join(chunk.choices[0].text for chunk in chunks), GREETING)

    def test_many_streams_at_once(self):
        async def one(caller, nth):
            request = known_as(f"many-{nth}")
            stream = await caller.chat.completions.create(model="sdk-chat", messages=QUESTION, stream=True, **request)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        async def all_of_them():
            async with openai.AsyncOpenAI(max_retries=0) as caller:
                return await asyncio.gather(*(one(caller, nth) for nth in range(20)))

        self.assertEqual(asyncio.run(all_of_them()), [GREETING] * 20)


class Models(unittest.TestCase):
    def test_the_list_holds_what_the_key_may_use(self):
        models = {model.id for model in client.models.list()}
        self.assertLessEqual({"sdk-chat", "sdk-complete", "sdk-embed"}, models)

    def test_one_model_with_its_prices(self):
        model = client.models.retrieve("sdk-chat")
        self.assertEqual((model.id, model.object), ("sdk-chat", "model"))
        self.assertEqual(model.aliases, ["sdk"])
        self.assertEqual((model.pricing["prompt"], model.pricing["completion"]), ("0.0000025", "0.00001"))


class Errors(unittest.TestCase):
    def test_a_wrong_key(self):
        with self.assertRaises(openai.AuthenticationError) as caught:
            openai.OpenAI(api_key="aigw-sk-wrong", max_retries=0).chat.completions.create(model="sdk-chat", messages=QUESTION)
        self.assertEqual(caught.exception.code, "invalid_api_key")

    def test_an_unknown_model(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="no-such-model", messages=QUESTION)
        self.assertEqual((caught.exception.code, caught.exception.param), ("model_not_found", "model"))
        with self.assertRaises(openai.NotFoundError):
            client.models.retrieve("no-such-model")

    def test_a_request_that_is_no_request(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            client.chat.completions.create(model=7, messages=QUESTION)
        self.assertEqual((caught.exception.code, caught.exception.param), ("invalid_value", "model"))

    def test_a_request_that_the_provider_finds_wrong(self):
        with self.assertRaises(openai.BadRequestError) as caught, patient() as caller:
            caller.chat.completions.create(model="sdk-picky", messages=QUESTION, **known_as("picky"))
        self.assertEqual((caught.exception.param, caught.exception.request_id), ("temperature", "py-picky"))

    def test_a_provider_out_of_capacity(self):
        with self.assertRaises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="sdk-busy", messages=QUESTION, **known_as("busy"))
        self.assertEqual(caught.exception.response.headers["retry-after"], "60")

    def test_a_provider_that_fails(self):
        with self.assertRaises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="sdk-broken", messages=QUESTION, **known_as("broken"))
        self.assertEqual((caught.exception.status_code, caught.exception.code), (502, "all_providers_failed"))

    def test_an_endpoint_that_is_not_served(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            client.files.list()
        self.assertEqual(caught.exception.code, "unknown_endpoint")


def patient(sent=None, **options):
    """A client that retries as much as the SDK does by itself, and notes what it sends."""
    hooks = {"request": [(sent if sent is not None else []).append]}
    return openai.OpenAI(http_client=openai.DefaultHttpx2Client(event_hooks=hooks, **options.pop("http", {})), **options)


class Retries(unittest.TestCase):
    """The SDK asks once where asking again would change nothing (the ledger shows it of the upstream's own 400)."""

    def assert_asked_once(self, status, ask, **options):
        sent = []
        with self.assertRaises(openai.APIStatusError) as caught, patient(sent, **options) as caller:
            ask(caller)
        self.assertEqual((caught.exception.status_code, len(sent)), (status, 1))

    def test_a_request_that_is_refused_is_not_repeated(self):
        def chat(model):
            return lambda caller: caller.chat.completions.create(model=model, messages=QUESTION)

        self.assert_asked_once(400, chat(7))
        self.assert_asked_once(400, lambda caller: caller.embeddings.create(model="", input="one"))
        self.assert_asked_once(404, chat("no-such-model"))
        self.assert_asked_once(401, chat("sdk-chat"), api_key="aigw-sk-wrong")
        self.assert_asked_once(404, lambda caller: caller.files.list())

    def test_no_status_that_stands_for_a_refusal_is_repeated(self):
        """Those too that no request of these tests can bring about, such as a budget that is used up."""
        for status in [400, 401, 402, 403, 404, 413, 422]:
            error = {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": "no"}}
            answer = httpx2.MockTransport(lambda _, status=status, error=error: httpx2.Response(status, json=error))
            with self.subTest(status):
                self.assert_asked_once(status, lambda caller: caller.models.list(), http={"transport": answer})

    def test_a_gateway_that_is_overloaded_is_asked_again(self):
        sent = []
        answer = httpx2.MockTransport(lambda _: httpx2.Response(503, headers={"retry-after-ms": "1"}, json={}))
        with self.assertRaises(openai.InternalServerError), patient(sent, http={"transport": answer}) as caller:
            caller.models.list()
        self.assertEqual(len(sent), 1 + openai.DEFAULT_MAX_RETRIES)


if __name__ == "__main__":
    assert os.environ.get("OPENAI_BASE_URL") and os.environ.get("OPENAI_API_KEY"), "run tests/sdk/run.sh"
    unittest.main()
