// One question of the playground as others would send it: with curl, without a library, with the SDK of its format, from a command line.
import type { Format, Question } from '../api/chat';

/** JSON as Python writes it: its texts are the same but for the names of three values. */
const python = (value: unknown, indent = ''): string => {
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value !== 'object') return JSON.stringify(value);
  const deeper = `${indent}    `;
  const [open, close, parts] = Array.isArray(value) ? ['[', ']', value.map((v) => python(v, deeper))] : ['{', '}', Object.entries(value).map(([k, v]) => `${JSON.stringify(k)}: ${python(v, deeper)}`)];
  return parts.length === 0 ? open + close : `${open}\n${parts.map((p) => deeper + p).join(',\n')}\n${indent}${close}`;
};
const named = (body: Record<string, unknown>, skip: string[] = []) => Object.entries(body).filter(([k]) => !skip.includes(k)).map(([k, v]) => `    ${k}=${python(v, '    ')},\n`).join('');

const sdks: Record<Format, (origin: string, body: Record<string, unknown>, q: Question) => [string, string]> = {
  'OpenAI Chat': (origin, body) => ['OpenAI SDK', `import os\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${origin}/v1", api_key=os.environ["SLUICE_KEY"])\nanswer = client.chat.completions.create(\n${named(body)})\nfor chunk in answer:\n    print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="")`],
  'OpenAI Responses': (origin, body) => ['OpenAI SDK', `import os\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${origin}/v1", api_key=os.environ["SLUICE_KEY"])\nanswer = client.responses.create(\n${named(body)})\nfor event in answer:\n    if event.type == "response.output_text.delta":\n        print(event.delta, end="")`],
  Anthropic: (origin, body) => ['Anthropic SDK', `import os\nfrom anthropic import Anthropic\n\nclient = Anthropic(base_url="${origin}", api_key=os.environ["SLUICE_KEY"])\nwith client.messages.stream(\n${named(body, ['stream'])}) as answer:\n    for text in answer.text_stream:\n        print(text, end="")`],
  Google: (origin, body, q) => {
    const { contents, systemInstruction, tools, generationConfig } = body;
    const config = { ...(generationConfig as object), ...(systemInstruction !== undefined && { systemInstruction }), ...(tools !== undefined && { tools }) };
    return ['Google SDK', `import os\nfrom google import genai\n\nclient = genai.Client(api_key=os.environ["SLUICE_KEY"], http_options={"base_url": "${origin}"})\nanswer = client.models.generate_content_stream(\n    model=${JSON.stringify(q.model)},\n    contents=${python(contents, '    ')},\n    config=${python(config, '    ')},\n)\nfor chunk in answer:\n    print(chunk.text or "", end="")`];
  },
  Ollama: (origin, body) => ['Ollama SDK', `import os\nfrom ollama import Client\n\nclient = Client(host="${origin}", headers={"authorization": "Bearer " + os.environ["SLUICE_KEY"]})\nanswer = client.chat(\n${named(body)})\nfor chunk in answer:\n    print(chunk.message.content, end="")`],
};

const shell = (text: string) => `'${text.replace(/'/g, "'\\''")}'`;

/** Name and text of each. The key is left to be filled in. */
export function copies(q: Question, origin: string, path: string, body: Record<string, unknown>): [string, string][] {
  const json = JSON.stringify(body, null, 2);
  const url = JSON.stringify(`${origin}/${path}`);
  const plain = q.messages.at(-1)?.content ?? '';
  return [
    ['curl', `curl -N ${url} \\\n  -H "authorization: Bearer $SLUICE_KEY" -H 'content-type: application/json' \\\n  -d ${shell(json)}`],
    sdks[q.format ?? 'OpenAI Chat'](origin, body, q),
    ['Python', `import json, os, urllib.request\n\nbody = ${python(body)}\nrequest = urllib.request.Request(${url}, json.dumps(body).encode(), {\n    "authorization": "Bearer " + os.environ["SLUICE_KEY"], "content-type": "application/json"})\nfor line in urllib.request.urlopen(request):\n    print(line.decode(), end="")`],
    ['Node', `const answer = await fetch(${url}, {\n  method: 'POST',\n  headers: { authorization: \`Bearer \${process.env.SLUICE_KEY}\`, 'content-type': 'application/json' },\n  body: JSON.stringify(${json.replace(/\n/g, '\n  ')}),\n});\nfor await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) process.stdout.write(chunk);`],
    ['Claude Code', `ANTHROPIC_BASE_URL=${origin} ANTHROPIC_AUTH_TOKEN=$SLUICE_KEY \\\n  claude --model ${shell(q.model)}${q.system ? ` --append-system-prompt ${shell(q.system)}` : ''} -p ${shell(plain)}`],
    ['Gemini CLI', `GOOGLE_GEMINI_BASE_URL=${origin} GEMINI_API_KEY=$SLUICE_KEY \\\n  gemini --model ${shell(q.model)} -p ${shell(plain)}`],
  ];
}
