"""The official OpenAI SDK for Python, unmodified, holds a conversation with tools on a model behind Anthropic's Messages API."""

import json
import os
import unittest

import openai

MODEL = "sdk-claude"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
CITIES = ["Paris", "東京"]
ANSWER = "It is 21 °C in Paris, 21 °C in 東京."
client = openai.OpenAI(max_retries=0)


def known_as(request_id):
    return {"extra_headers": {"x-request-id": f"py-{request_id}"}}


def get_weather(city):
    return f"21 °C in {city}"


class Conversations(unittest.TestCase):
    def converse(self, name, ask):
        """Asks, calls the tools that are asked for, and asks again. `ask` gives a completion."""
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is the weather in Paris and in Tokyo?"},
        ]
        first = ask(messages, **known_as(f"{name}-1"))
        choice = first.choices[0]
        self.assertEqual((choice.finish_reason, choice.message.content), ("tool_calls", "Let me look."))
        calls = choice.message.tool_calls
        self.assertEqual([json.loads(call.function.arguments)["city"] for call in calls], CITIES)
        messages.append(choice.message)
        for call in calls:
            result = get_weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        second = ask(messages, **known_as(f"{name}-2"))
        self.assertEqual((second.choices[0].finish_reason, second.choices[0].message.content), ("stop", ANSWER))
        return first, second

    def check_usage(self, completion):
        usage = completion.usage
        self.assertEqual((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (1300, 20, 1320))
        self.assertEqual(usage.prompt_tokens_details.cached_tokens, 1000)

    def test_with_tools(self):
        first, second = self.converse(
            "claude", lambda messages, **more: client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS, **more)
        )
        self.check_usage(first)
        self.check_usage(second)

    def test_with_tools_as_streams(self):
        def ask(messages, **more):
            options = {"include_usage": True}
            with client.chat.completions.stream(model=MODEL, messages=messages, tools=TOOLS, stream_options=options, **more) as stream:
                return stream.get_final_completion()

        for completion in self.converse("claude-stream", ask):
            self.check_usage(completion)

    def test_with_tools_and_reasoning(self):
        first, _ = self.converse(
            "claude-thinking",
            lambda messages, **more: client.chat.completions.create(
                model=MODEL, messages=messages, tools=TOOLS, reasoning_effort="low", **more
            ),
        )
        self.assertEqual(first.choices[0].message.reasoning_content, "Two cities, two calls.")

    def test_with_tools_and_reasoning_as_streams(self):
        def ask(messages, **more):
            with client.chat.completions.stream(
                model=MODEL, messages=messages, tools=TOOLS, reasoning_effort="low", **more
            ) as stream:
                return stream.get_final_completion()

        self.converse("claude-thinking-stream", ask)

    def test_what_is_dropped_is_named(self):
        raw = client.chat.completions.with_raw_response.create(
            model=MODEL, messages=[{"role": "user", "content": "Hello?"}], seed=7, logit_bias={"50256": -100}, **known_as("claude-dropped")
        )
        self.assertEqual(raw.headers["x-aigw-dropped-params"], "logit_bias,seed")
        self.assertEqual(raw.headers["x-aigw-cost-usd"], "0.0017625")

    def test_what_cannot_be_expressed_is_refused(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Hello?"}], n=2, **known_as("claude-refused")
            )
        self.assertEqual((caught.exception.code, caught.exception.param), ("unsupported_value", "n"))


if __name__ == "__main__":
    assert os.environ.get("OPENAI_BASE_URL") and os.environ.get("OPENAI_API_KEY"), "run tests/sdk/run.sh"
    unittest.main()
