// A chat, and a response that is streamed, of a real model on the base address given; prints what was said.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "anything" });
const model = "default";

const answer = await client.chat.completions.create({ model, messages: [{ role: "user", content: "Say hello." }] });
let streamed = "", id = "";
for await (const event of await client.responses.create({ model, input: "Say hello.", stream: true })) {
  id = event.response?.id ?? id;
  streamed += event.type === "response.output_text.delta" ? event.delta : "";
}
const whole = (await client.responses.retrieve(id)).output_text;
process.stdout.write(JSON.stringify({ chat: answer.choices[0].message.content, streamed, whole }));
