// npm openai over wss: text, a tool and its result, a spoken turn, a cancel, an error.
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

const base = process.argv[2].replace(/\/realtime.*$/, '').replace(/^ws/, 'http');
const client = new OpenAI({ apiKey: 'none', baseURL: base });
const rt = new OpenAIRealtimeWS({ model: 'omni', options: { rejectUnauthorized: false } }, client);
const seen = [];
const errors = [];
let wake = () => {};
rt.on('event', (event) => { seen.push(event); wake(); });
rt.on('error', (error) => { errors.push(error); wake(); });
const until = async (type, count = 1) => {
  const end = Date.now() + 20000;
  while (seen.filter((event) => event.type === type).length < count) {
    if (Date.now() > end) throw new Error(`no ${type}: ${seen.map((event) => event.type).slice(-8)} ${errors}`);
    await new Promise((resolve) => { wake = resolve; setTimeout(resolve, 100); });
  }
  return seen.filter((event) => event.type === type)[count - 1];
};
const check = (right, what) => { if (!right) { console.error(what); process.exit(1); } };

await until('session.created');
const parameters = { type: 'object', properties: { city: { type: 'string' } } };
rt.send({ type: 'session.update', session: { type: 'realtime', tools: [{ type: 'function', name: 'weather', parameters }] } });
await until('session.updated');
const content = [{ type: 'input_text', text: 'hello' }];
rt.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
rt.send({ type: 'response.create' });
const call = (await until('response.done')).response.output[0];
check(call.type === 'function_call' && call.name === 'weather', call);
rt.send({ type: 'conversation.item.create', item: { type: 'function_call_output', call_id: call.call_id, output: 'snow' } });
rt.send({ type: 'response.create' });
const answer = (await until('response.done', 2)).response.output[0];
check(answer.content[0].transcript.startsWith('It snows in Oslo'), answer);
const second = Buffer.alloc(48000);
for (let n = 0; n < 24000; n++) second.writeInt16LE(Math.round(9000 * Math.sin(n * 0.06)), 2 * n);
rt.send({ type: 'input_audio_buffer.append', audio: second.toString('base64') });
rt.send({ type: 'input_audio_buffer.append', audio: Buffer.alloc(48000).toString('base64') });
check((await until('response.done', 3)).response.status === 'completed', 'the spoken turn was not answered');
check(errors.length === 0, errors);
rt.send({ type: 'response.cancel' });
await until('error');
check(seen.at(-1).error.code === 'response_cancel_not_active', seen.at(-1));
rt.close();
process.exit(0);
