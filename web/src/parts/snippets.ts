// How well-known clients are pointed at this server.
import { apiUrl } from '../api/client';

const origin = apiUrl.href.replace(/\/$/, '');
const shell = (text: string) => (/^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`);

export interface Client { name: string; where?: string; text: (key: string, model: string) => string }

export const snippets: Client[] = [
  {
    name: 'curl',
    text: (key, model) => `curl ${origin}/v1/chat/completions \\
  -H 'authorization: Bearer ${key}' -H 'content-type: application/json' \\
  -d ${shell(JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] }))}`,
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
    text: (key, model) => `ANTHROPIC_BASE_URL=${origin} ANTHROPIC_AUTH_TOKEN=${key} \\\n  claude --model ${shell(model)}`,
  },
  {
    name: 'Codex',
    text: (key, model) => `SLUICE_KEY=${key} codex --model ${shell(model)} \\
  -c model_provider=sluice -c model_providers.sluice.name=sluice \\
  -c model_providers.sluice.base_url=${origin}/v1 \\
  -c model_providers.sluice.env_key=SLUICE_KEY -c model_providers.sluice.wire_api=responses`,
  },
  {
    name: 'Gemini CLI',
    text: (key, model) => `GOOGLE_GEMINI_BASE_URL=${origin} GEMINI_API_KEY=${key} \\\n  gemini --model ${shell(model)}`,
  },
  {
    name: 'opencode', where: 'opencode.json',
    text: (key, model) => JSON.stringify({
      $schema: 'https://opencode.ai/config.json',
      provider: { sluice: { npm: '@ai-sdk/openai-compatible', name: 'sluice', options: { baseURL: `${origin}/v1`, apiKey: key }, models: { [model]: {} } } },
      model: `sluice/${model}`,
    }, null, 2),
  },
  {
    name: 'Cline', where: 'Settings → API Configuration',
    text: (key, model) => `API Provider   OpenAI Compatible\nBase URL       ${origin}/v1\nAPI Key        ${key}\nModel ID       ${model}`,
  },
  {
    name: 'Cursor', where: 'Settings → Models → API Keys',
    text: (key, model) => `OpenAI API Key             ${key}\nOverride OpenAI Base URL   ${origin}/v1\nAdd model                  ${model}\n\nCursor calls from its own servers: the address must be reachable from the internet.`,
  },
  {
    name: 'Continue', where: '~/.continue/config.yaml',
    text: (key, model) => `models:
  - name: ${JSON.stringify(`${model} (sluice)`)}
    provider: openai
    model: ${JSON.stringify(model)}
    apiBase: ${origin}/v1
    apiKey: ${key}`,
  },
  {
    name: 'Open WebUI',
    text: (key) => `docker run -d -p 3000:8080 --add-host=host.docker.internal:host-gateway \\
  -e OPENAI_API_BASE_URL=${origin.replace(/\/\/(localhost|127\.0\.0\.1|\[::1\])(?=[:/]|$)/, '//host.docker.internal')}/v1 \\
  -e OPENAI_API_KEY=${key} \\
  -v open-webui:/app/backend/data ghcr.io/open-webui/open-webui:main`,
  },
];
