// The official OpenAI SDK for Node, unmodified, in a conversation with tools on a model behind Anthropic's Messages API.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import OpenAI from "openai";

const model = "sdk-claude";
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "get_weather", description: "The weather in a city.", parameters } }];
const client = new OpenAI({ maxRetries: 0 });
const knownAs = (id) => ({ headers: { "x-request-id": `js-${id}` } });
const getWeather = ({ city }) => `21 °C in ${city}`;

// Sends a request, runs the requested tools, and sends their results. `ask` returns a completion.
async function converse(name, ask) {
  const messages = [
    { role: "system", content: "Be brief." },
    { role: "user", content: "What is the weather in Paris and in Tokyo?" },
  ];
  const first = await ask(messages, knownAs(`${name}-1`));
  const { finish_reason: reason, message } = first.choices[0];
  assert.deepEqual([reason, message.content], ["tool_calls", "Let me look."]);
  const asked = message.tool_calls.map((call) => JSON.parse(call.function.arguments));
  assert.deepEqual(asked, [{ city: "Paris" }, { city: "東京" }]);
  messages.push(message);
  message.tool_calls.forEach((call, nth) => messages.push({ role: "tool", tool_call_id: call.id, content: getWeather(asked[nth]) }));
  const second = await ask(messages, knownAs(`${name}-2`));
  assert.deepEqual([second.choices[0].finish_reason, second.choices[0].message.content], ["stop", "It is 21 °C in Paris, 21 °C in 東京."]);
  return [first, second];
}

function checkUsage({ usage }) {
  assert.deepEqual([usage.prompt_tokens, usage.completion_tokens, usage.total_tokens], [1300, 20, 1320]);
  assert.equal(usage.prompt_tokens_details.cached_tokens, 1000);
}

describe("a conversation with Claude", () => {
  test("with tools", async () => {
    const ask = (messages, options) => client.chat.completions.create({ model, messages, tools }, options);
    (await converse("claude", ask)).forEach(checkUsage);
  });

  test("with tools, as streams", async () => {
    const asked = { model, tools, stream_options: { include_usage: true } };
    const ask = (messages, options) => client.chat.completions.stream({ ...asked, messages }, options).finalChatCompletion();
    (await converse("claude-stream", ask)).forEach(checkUsage);
  });

  test("with tools and reasoning", async () => {
    const ask = (messages, options) => client.chat.completions.create({ model, messages, tools, reasoning_effort: "low" }, options);
    const [first] = await converse("claude-thinking", ask);
    assert.equal(first.choices[0].message.reasoning_content, "Two cities, two calls.");
  });

  test("with tools and reasoning, as streams", async () => {
    const asked = { model, tools, reasoning_effort: "low" };
    const ask = (messages, options) => client.chat.completions.stream({ ...asked, messages }, options).finalChatCompletion();
    await converse("claude-thinking-stream", ask);
  });

  test("what is dropped is named", async () => {
    const asked = { model, messages: [{ role: "user", content: "Hello?" }], seed: 7, logit_bias: { 50256: -100 } };
    const { response } = await client.chat.completions.create(asked, knownAs("claude-dropped")).withResponse();
    assert.equal(response.headers.get("x-aigw-dropped-params"), "logit_bias,seed");
  });

  test("what cannot be expressed is refused", async () => {
    const asked = { model, messages: [{ role: "user", content: "Hello?" }], n: 2 };
    const caught = await client.chat.completions.create(asked, knownAs("claude-refused")).catch((error) => error);
    assert.ok(caught instanceof OpenAI.BadRequestError);
    assert.deepEqual([caught.code, caught.param], ["unsupported_value", "n"]);
  });
});
