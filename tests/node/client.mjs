// What a program does that was written for the OpenAI interface, on the base address given; prints what it got.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "anything" });
const model = "default";
const messages = [{ role: "user", content: "hello" }];
const weather = {
  name: "weather",
  description: "The weather in a city",
  parameters: { type: "object", properties: { city: { type: "string" } } },
};
const chatTools = [{ type: "function", function: weather }];
const tools = [{ type: "function", ...weather }];

async function chat() {
  const answer = await client.chat.completions.create({ model, messages });
  return { text: answer.choices[0].message.content, finish: answer.choices[0].finish_reason, usage: answer.usage };
}

async function chatStream() {
  const stream = await client.chat.completions.create({
    model, messages, stream: true, stream_options: { include_usage: true },
  });
  let text = "", finish = null, usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  return { text, finish, usage };
}

async function chatTool() {
  const runner = client.chat.completions.runTools({
    model, messages, tools: [{ type: "function", function: { ...weather, parse: JSON.parse, function: sunny } }],
  });
  return { text: await runner.finalContent() };
}

async function sunny({ city }) {
  return `sunny in ${city}`;
}

async function chatToolStream() {
  const stream = client.chat.completions.stream({ model, messages, tools: chatTools });
  const answer = await stream.finalChatCompletion();
  const call = answer.choices[0].message.tool_calls[0];
  return { finish: answer.choices[0].finish_reason, name: call.function.name, arguments: call.function.arguments };
}

async function response() {
  const made = await client.responses.create({ model, input: "hello", instructions: "Be kind." });
  const found = await client.responses.retrieve(made.id);
  return { status: made.status, text: made.output_text, same: JSON.stringify(found) === JSON.stringify(made) };
}

async function responseStream() {
  const stream = client.responses.stream({ model, input: "hello" });
  const types = [];
  for await (const event of stream) types.push(event.type);
  return { types: [...new Set(types)], text: (await stream.finalResponse()).output_text };
}

async function responseTool() {
  const first = await client.responses.create({ model, input: "hello", tools });
  const call = first.output.find((item) => item.type === "function_call");
  const output = await sunny(JSON.parse(call.arguments));
  const second = await client.responses.create({
    model, tools, previous_response_id: first.id,
    input: [{ type: "function_call_output", call_id: call.call_id, output }],
  });
  return { text: second.output_text };
}

async function background() {
  const made = await client.responses.create({ model, input: "tell me more", background: true });
  let text = "", last = -1, resumed = 0;
  for await (const event of await client.responses.retrieve(made.id, { stream: true })) {
    last = event.sequence_number;
    text += event.type === "response.output_text.delta" ? event.delta : "";
    if (text.length > 5) break;
  }
  for await (const event of await client.responses.retrieve(made.id, { stream: true, starting_after: last })) {
    resumed += 1;
    text += event.type === "response.output_text.delta" ? event.delta : "";
  }
  return { text, resumed: resumed > 0, whole: (await client.responses.retrieve(made.id)).output_text };
}

async function models() {
  const names = [];
  for await (const each of client.models.list()) names.push(each.id);
  return { names };
}

async function errors() {
  const found = {};
  try {
    await client.chat.completions.create({ model: "gpt-99", messages });
  } catch (error) {
    found.unknown = { kind: error.constructor.name, status: error.status, code: error.code, param: error.param };
  }
  try {
    await client.chat.completions.create({ model, messages, n: 2 });
  } catch (error) {
    found.several = { kind: error.constructor.name, status: error.status, param: error.param };
  }
  return found;
}

const results = {};
const scenes = {
  chat, chatStream, chatTool, chatToolStream, response, responseStream, responseTool, background, models, errors,
};
for (const [name, scene] of Object.entries(scenes)) results[name] = await scene();
process.stdout.write(JSON.stringify(results));
