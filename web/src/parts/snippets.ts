// How well-known clients are pointed at this server.
import { apiUrl } from '../api/client';

const origin = apiUrl.href.replace(/\/$/, '');

export const snippets: { name: string; text: (key: string, model: string) => string }[] = [
  {
    name: 'curl',
    text: (key, model) => `curl ${origin}/v1/chat/completions \\
  -H 'authorization: Bearer ${key}' -H 'content-type: application/json' \\
  -d '${JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] })}'`,
  },
  {
    name: 'Python',
    text: (key, model) => `from openai import OpenAI

client = OpenAI(base_url="${origin}/v1", api_key="${key}")
answer = client.chat.completions.create(
    model=${JSON.stringify(model)}, messages=[{"role": "user", "content": "Hello"}])
print(answer.choices[0].message.content)`,
  },
  {
    name: 'Node',
    text: (key, model) => `import OpenAI from 'openai';

const client = new OpenAI({ baseURL: '${origin}/v1', apiKey: '${key}' });
const answer = await client.chat.completions.create({
  model: ${JSON.stringify(model)}, messages: [{ role: 'user', content: 'Hello' }] });
console.log(answer.choices[0].message.content);`,
  },
  {
    name: 'Claude Code',
    text: (key, model) => `ANTHROPIC_BASE_URL=${origin} ANTHROPIC_AUTH_TOKEN=${key} \\\n  claude --model ${model}`,
  },
  {
    name: 'Codex',
    text: (key, model) => `SLUICE_KEY=${key} codex --model ${model} \\
  -c model_provider=sluice -c model_providers.sluice.name=sluice \\
  -c model_providers.sluice.base_url=${origin}/v1 \\
  -c model_providers.sluice.env_key=SLUICE_KEY -c model_providers.sluice.wire_api=responses`,
  },
  {
    name: 'Gemini CLI',
    text: (key, model) => `GOOGLE_GEMINI_BASE_URL=${origin} GEMINI_API_KEY=${key} \\\n  gemini --model ${model}`,
  },
];
