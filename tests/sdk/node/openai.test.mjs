// The official OpenAI SDK for Node, unmodified, through aigw. Every call carries its own request id for the ledger.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import OpenAI from "openai";

const GREETING = "Hello from the upstream: grüße, 東京";
const messages = [{ role: "user", content: "Hello?" }];
const tools = [{ type: "function", function: { name: "get_weather", parameters: { type: "object", properties: {} } } }];
// Base URL and key come from OPENAI_BASE_URL and OPENAI_API_KEY, as in any program.
const client = new OpenAI({ maxRetries: 0 });
const knownAs = (id) => ({ headers: { "x-request-id": `js-${id}` } });

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

describe("answers", () => {
  test("chat", async () => {
    const asked = client.chat.completions.create({ model: "sdk-chat", messages }, knownAs("chat"));
    const { data, response } = await asked.withResponse();
    assert.equal(data.choices[0].message.content, GREETING);
    assert.equal(data.usage.total_tokens, 1050);
    assert.equal(data._request_id, "js-chat");
    assert.equal(response.headers.get("x-aigw-cost-usd"), "0.00275");
  });

  test("chat by an alias", async () => {
    const completion = await client.chat.completions.create({ model: "sdk", messages }, knownAs("alias"));
    assert.equal(completion.choices[0].message.content, GREETING);
  });

  test("tools", async () => {
    const completion = await client.chat.completions.create({ model: "sdk-chat", messages, tools }, knownAs("tools"));
    assert.equal(completion.choices[0].message.tool_calls[0].function.arguments, '{"city":"Paris"}');
  });

  test("legacy completions", async () => {
    const completion = await client.completions.create({ model: "sdk-complete", prompt: "Hello?" }, knownAs("complete"));
    assert.equal(completion.choices[0].text, GREETING);
  });

  test("embeddings", async () => {
    const asked = { model: "sdk-embed", input: ["one", "two", "three"] };
    const embeddings = await client.embeddings.create(asked, knownAs("embed"));
    assert.deepEqual(embeddings.data.map((item) => item.embedding), Array(3).fill([0.25, -0.5, 1.0]));
  });
});

describe("streams", () => {
  test("a stream without usage shows none", async () => {
    const chunks = await collect(await client.chat.completions.create({ model: "sdk-chat", messages, stream: true }, knownAs("stream")));
    assert.equal(textOf(chunks), GREETING);
    assert.ok(chunks.every((chunk) => chunk.choices.length === 1 && !chunk.usage));
  });

  test("a stream with usage ends with it", async () => {
    const asked = { model: "sdk-chat", messages, stream: true, stream_options: { include_usage: true } };
    const last = (await collect(await client.chat.completions.create(asked, knownAs("stream-usage")))).at(-1);
    assert.deepEqual([last.choices, last.usage.total_tokens], [[], 1050]);
  });

  test("a stream of tool arguments", async () => {
    const asked = { model: "sdk-chat", messages, tools, stream: true };
    const chunks = await collect(await client.chat.completions.create(asked, knownAs("stream-tools")));
    const calls = chunks.flatMap((chunk) => chunk.choices[0].delta.tool_calls ?? []);
    assert.equal(calls.map((call) => call.function.arguments).join(""), '{"city":"Paris"}');
  });

  test("a stream of legacy completions", async () => {
    const asked = { model: "sdk-complete", prompt: "Hello?", stream: true };
    const chunks = await collect(await client.completions.create(asked, knownAs("complete-stream")));
    assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), GREETING);
  });

  test("many streams at once", async () => {
    const one = async (_, nth) => {
      const asked = { model: "sdk-chat", messages, stream: true };
      return textOf(await collect(await client.chat.completions.create(asked, knownAs(`many-${nth}`))));
    };
    assert.deepEqual(await Promise.all(Array.from({ length: 20 }, one)), Array(20).fill(GREETING));
  });
});

describe("models", () => {
  test("the list holds what the key may use", async () => {
    const models = (await collect(await client.models.list())).map((model) => model.id);
    for (const id of ["sdk-chat", "sdk-complete", "sdk-embed"]) assert.ok(models.includes(id), id);
  });

  test("one model with its prices", async () => {
    const model = await client.models.retrieve("sdk-chat");
    assert.deepEqual([model.id, model.pricing.prompt, model.pricing.completion], ["sdk-chat", "0.0000025", "0.00001"]);
  });
});

describe("errors", () => {
  test("a wrong key", async () => {
    const stranger = new OpenAI({ apiKey: "aigw-sk-wrong", maxRetries: 0 });
    const caught = await stranger.chat.completions.create({ model: "sdk-chat", messages }).catch((error) => error);
    assert.ok(caught instanceof OpenAI.AuthenticationError);
    assert.equal(caught.code, "invalid_api_key");
  });

  test("an unknown model", async () => {
    const caught = await client.chat.completions.create({ model: "no-such-model", messages }).catch((error) => error);
    assert.ok(caught instanceof OpenAI.NotFoundError);
    assert.deepEqual([caught.code, caught.param], ["model_not_found", "model"]);
  });

  test("a request that is no request", async () => {
    const caught = await client.chat.completions.create({ model: 7, messages }).catch((error) => error);
    assert.ok(caught instanceof OpenAI.BadRequestError);
    assert.deepEqual([caught.code, caught.param], ["invalid_value", "model"]);
  });

  test("a request that the provider finds wrong", async () => {
    const caught = await client.chat.completions.create({ model: "sdk-picky", messages }, knownAs("picky")).catch((error) => error);
    assert.ok(caught instanceof OpenAI.BadRequestError);
    assert.deepEqual([caught.param, caught.requestID], ["temperature", "js-picky"]);
  });

  test("a provider out of capacity", async () => {
    const caught = await client.chat.completions.create({ model: "sdk-busy", messages }, knownAs("busy")).catch((error) => error);
    assert.ok(caught instanceof OpenAI.RateLimitError);
    assert.equal(caught.headers.get("retry-after"), "60");
  });

  test("a provider that fails", async () => {
    const caught = await client.chat.completions.create({ model: "sdk-broken", messages }, knownAs("broken")).catch((error) => error);
    assert.ok(caught instanceof OpenAI.InternalServerError);
    assert.deepEqual([caught.status, caught.code], [502, "all_providers_failed"]);
  });
});
