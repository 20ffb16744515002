// Calls the SDKs for Node as it is told on standard input, a line of JSON for each call. The
// answer is a line for each text as it comes, and one more that says how the call ended.
import readline from "node:readline";

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const prompt = { messages: [{ role: "user", content: "Hello?" }] };
const message = { model: "claude-simulated", max_tokens: 100, ...prompt };
const chat = { model: "gpt-simulated", ...prompt };
const response = { model: "gpt-simulated", input: "Hello?" };

const openai = (options) => new OpenAI({ ...options, baseURL: `${options.baseURL}/v1` });

async function* deltas(events, textOf) {
  for await (const event of events) {
    const text = textOf(event);
    if (text) yield text;
  }
}

const ofMessage = (event) => event.type === "content_block_delta" && event.delta.text;
const ofChat = (chunk) => chunk.choices[0]?.delta.content;
const ofResponse = (event) => event.type === "response.output_text.delta" && event.delta;

const SDKS = {
  messages: {
    client: (options) => new Anthropic(options),
    async *ask(client) {
      yield (await client.messages.create(message)).content[0].text;
    },
    async *stream(client) {
      yield* deltas(await client.messages.create({ ...message, stream: true }), ofMessage);
    },
    async *helper(client) {
      const stream = client.messages.stream(message);
      yield* deltas(stream, ofMessage);
      return (await stream.finalMessage()).stop_reason;
    },
  },
  chat: {
    client: openai,
    async *ask(client) {
      yield (await client.chat.completions.create(chat)).choices[0].message.content;
    },
    async *stream(client) {
      yield* deltas(await client.chat.completions.create({ ...chat, stream: true }), ofChat);
    },
    async *helper(client) {
      const stream = client.chat.completions.stream(chat);
      yield* deltas(stream, ofChat);
      return (await stream.finalChatCompletion()).choices[0].finish_reason;
    },
  },
  responses: {
    client: openai,
    async *ask(client) {
      yield (await client.responses.create(response)).output_text;
    },
    async *stream(client) {
      yield* deltas(await client.responses.create({ ...response, stream: true }), ofResponse);
    },
    async *helper(client) {
      const stream = client.responses.stream(response);
      yield* deltas(stream, ofResponse);
      return (await stream.finalResponse()).status;
    },
  },
};

/** Everything that a program would look at in an error of an SDK. */
function told(error) {
  const classes = [];
  for (let of = error; of; of = Object.getPrototypeOf(of)) {
    if (Object.hasOwn(of, "constructor")) classes.push(of.constructor.name);
  }
  const { status, type, code, error: body, message } = error;
  const headers = Object.fromEntries(error.headers ?? []);
  return { classes, status, type, code, body, message, headers };
}

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { sdk, method, baseURL, cluster, key } = JSON.parse(line);
  const client = SDKS[sdk].client({
    apiKey: key,
    baseURL,
    maxRetries: 0,
    timeout: 20_000,
    defaultHeaders: cluster ? { "x-qcc-cluster": cluster } : {},
  });
  try {
    const texts = SDKS[sdk][method](client);
    let step = await texts.next();
    for (; !step.done; step = await texts.next()) tell({ text: step.value });
    tell({ ended: step.value ?? null });
  } catch (error) {
    tell({ failed: told(error) });
  }
}
