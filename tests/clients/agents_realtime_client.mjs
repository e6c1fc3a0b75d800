// npm @openai/agents-realtime: a tool, a spoken turn, an interruption, a message; with the history it keeps.
import { RealtimeAgent, RealtimeSession, OpenAIRealtimeWebSocket, tool } from '@openai/agents-realtime';
import { z } from 'zod';

const called = [];
const weather = tool({
  name: 'weather',
  description: 'The weather in a city.',
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => { called.push(city); return 'snow'; },
});
const agent = new RealtimeAgent({ name: 'a', instructions: 'Be brief.', tools: [weather] });
const session = new RealtimeSession(agent, { transport: new OpenAIRealtimeWebSocket({ useInsecureApiKey: true }) });
const errors = [];
const seen = {};
let audio = 0;
session.on('error', (error) => errors.push(JSON.stringify(error)));
session.on('audio', (event) => { audio += event.data.byteLength; });
session.transport.on('*', (event) => { seen[event.type] = (seen[event.type] ?? 0) + 1; });
const until = async (type, count) => {
  const end = Date.now() + 20000;
  while ((seen[type] ?? 0) < count) {
    if (Date.now() > end) { console.error(`no ${type}`, seen, errors); process.exit(1); }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};
const check = (right, ...what) => { if (!right) { console.error(...what); process.exit(1); } };

await session.connect({ apiKey: 'none', url: process.argv[2] });
const second = new ArrayBuffer(48000);
const view = new DataView(second);
for (let n = 0; n < 24000; n++) view.setInt16(2 * n, Math.round(9000 * Math.sin(n * 0.06)), true);
session.sendAudio(second);
session.sendAudio(new ArrayBuffer(48000));
await until('response.done', 2); // the call, and the answer with its result
check(called.length === 1 && called[0] === 'Oslo', called);
session.sendAudio(second);
session.sendAudio(new ArrayBuffer(48000));
await until('response.done', 3);
session.interrupt();
session.sendMessage('hello');
await until('response.done', 4);
await new Promise((resolve) => setTimeout(resolve, 500));
check(errors.length === 0, errors);
check(audio > 100000, audio);
const words = session.history.flatMap((item) => item.content ?? []).map((part) => part.transcript ?? part.text);
check(words.includes('hello') && words.includes('what is the weather'), words);
session.close();
process.exit(0);
