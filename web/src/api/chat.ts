// Asks a model as a client would, in a client's format, over the same paths that clients use; the answer is read as it comes.
import { ApiError, api, apiUrl, take } from './client';
import { events } from './sse';

export interface Media { kind: 'image' | 'audio'; type: string; data: string; name: string } // data: base64
export interface Message { role: 'user' | 'assistant'; content: string; media?: Media[] }
export const efforts = ['low', 'medium', 'high'] as const;
export type Effort = (typeof efforts)[number];
export interface Tool { name: string; description?: string; parameters?: unknown }
export interface Question {
  model: string; messages: Message[]; system?: string; maxTokens?: number; temperature?: number; topP?: number; effort?: Effort; tools?: Tool[]; format?: Format; signal?: AbortSignal;
  onText?: (answer: Answer) => void;
}
export interface ToolCall { name: string; args: string }
export interface Answer {
  text: string; thinking: string; calls: ToolCall[]; requestId: string; firstUs: number; totalUs: number; input: number | null; output: number | null; costUsd: number | null;
}
export type Format = keyof typeof formats;

interface Piece { text?: string; thinking?: string; input?: number; output?: number; error?: string; call?: { at: number; name?: string; args?: string } }
interface Dialect { path: (q: Question) => string; body: (q: Question) => Record<string, unknown>; read: (event: Record<string, any>) => Piece }

/** How many tokens may be thought, where a format wants a number: less than the answer may be long. */
const thoughts = { low: 1024, medium: 4096, high: 16_384 } as const;
const longest = (q: Question) => q.maxTokens ?? (q.effort ? thoughts[q.effort] : 0) + 2048;
const defined = (o: Record<string, unknown>) => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined && v !== ''));
const schema = (t: Tool) => t.parameters ?? { type: 'object', properties: {} };
const url = (m: Media) => `data:${m.type};base64,${m.data}`;
const audioFormat = (m: Media) => (/mpeg|mp3/.test(m.type) ? 'mp3' : 'wav');

// How each format says the same, both ways. Only what the playground shows is read.
export const formats = {
  'OpenAI Chat': {
    path: () => 'v1/chat/completions',
    body: (q) => defined({
      model: q.model, stream: true, stream_options: { include_usage: true }, max_tokens: longest(q), temperature: q.temperature, top_p: q.topP, reasoning_effort: q.effort,
      messages: [...(q.system ? [{ role: 'system', content: q.system }] : []), ...q.messages.map((m) => ({
        role: m.role, content: !m.media?.length ? m.content : [{ type: 'text', text: m.content }, ...m.media.map((x) => (x.kind === 'image' ? { type: 'image_url', image_url: { url: url(x) } } : { type: 'input_audio', input_audio: { data: x.data, format: audioFormat(x) } }))],
      }))],
      tools: q.tools?.length ? q.tools.map((t) => ({ type: 'function', function: { name: t.name, description: t.description, parameters: schema(t) } })) : undefined,
    }),
    read: (e) => {
      const d = e.choices?.[0]?.delta;
      const t = d?.tool_calls?.[0];
      return {
        text: d?.content ?? '', thinking: d?.reasoning_content ?? '', input: e.usage?.prompt_tokens, output: e.usage?.completion_tokens, error: e.error?.message,
        ...(t && { call: { at: t.index ?? 0, name: t.function?.name, args: t.function?.arguments } }),
      };
    },
  },
  'OpenAI Responses': {
    path: () => 'v1/responses',
    body: (q) => defined({
      model: q.model, stream: true, store: false, max_output_tokens: longest(q), temperature: q.temperature, top_p: q.topP, instructions: q.system, reasoning: q.effort && { effort: q.effort, summary: 'auto' },
      input: q.messages.map((m) => ({
        role: m.role, content: !m.media?.length ? m.content : [{ type: 'input_text', text: m.content }, ...m.media.map((x) => (x.kind === 'image' ? { type: 'input_image', image_url: url(x) } : { type: 'input_audio', input_audio: { data: x.data, format: audioFormat(x) } }))],
      })),
      tools: q.tools?.length ? q.tools.map((t) => ({ type: 'function', name: t.name, description: t.description, parameters: schema(t) })) : undefined,
    }),
    read: (e) => ({
      text: e.type === 'response.output_text.delta' ? e.delta : '',
      thinking: e.type === 'response.reasoning_text.delta' || e.type === 'response.reasoning_summary_text.delta' ? e.delta : '',
      input: e.response?.usage?.input_tokens, output: e.response?.usage?.output_tokens,
      error: e.type === 'error' ? e.message : e.response?.error?.message,
      ...(e.type === 'response.output_item.added' && e.item?.type === 'function_call' && { call: { at: e.output_index, name: e.item.name } }),
      ...(e.type === 'response.function_call_arguments.delta' && { call: { at: e.output_index, args: e.delta } }),
    }),
  },
  Anthropic: {
    path: () => 'v1/messages',
    body: (q) => defined({
      model: q.model, stream: true, max_tokens: longest(q), temperature: q.temperature, top_p: q.topP, system: q.system, thinking: q.effort && { type: 'enabled', budget_tokens: Math.max(1024, Math.min(thoughts[q.effort], longest(q) - 1)) },
      messages: q.messages.map((m) => ({ role: m.role, content: !m.media?.length ? m.content : [...m.media.filter((x) => x.kind === 'image').map((x) => ({ type: 'image', source: { type: 'base64', media_type: x.type, data: x.data } })), { type: 'text', text: m.content }] })),
      tools: q.tools?.length ? q.tools.map((t) => ({ name: t.name, description: t.description, input_schema: schema(t) })) : undefined,
    }),
    read: (e) => ({
      text: e.delta?.text ?? '', thinking: e.delta?.thinking ?? '', input: e.message?.usage?.input_tokens, output: e.usage?.output_tokens,
      error: e.type === 'error' ? e.error?.message : undefined,
      ...(e.type === 'content_block_start' && e.content_block?.type === 'tool_use' && { call: { at: e.index, name: e.content_block.name } }),
      ...(e.delta?.type === 'input_json_delta' && { call: { at: e.index, args: e.delta.partial_json } }),
    }),
  },
  Google: {
    path: (q) => `v1beta/models/${encodeURIComponent(q.model)}:streamGenerateContent?alt=sse`,
    body: (q) => defined({
      contents: q.messages.map((m) => ({ role: m.role === 'user' ? 'user' : 'model', parts: [...(m.media ?? []).map((x) => ({ inlineData: { mimeType: x.type, data: x.data } })), { text: m.content }] })),
      generationConfig: defined({ maxOutputTokens: longest(q), temperature: q.temperature, topP: q.topP, thinkingConfig: q.effort && { includeThoughts: true, thinkingBudget: thoughts[q.effort] } }), systemInstruction: q.system ? { parts: [{ text: q.system }] } : undefined,
      tools: q.tools?.length ? [{ functionDeclarations: q.tools.map((t) => defined({ name: t.name, description: t.description, parameters: t.parameters })) }] : undefined,
    }),
    read: (e) => {
      const parts: { text?: string; thought?: boolean; functionCall?: { name: string; args?: unknown } }[] = e.candidates?.[0]?.content?.parts ?? [];
      const join = (isThought: boolean) => parts.filter((p) => Boolean(p.thought) === isThought).map((p) => p.text ?? '').join('');
      const f = parts.find((p) => p.functionCall)?.functionCall;
      return {
        text: join(false), thinking: join(true), input: e.usageMetadata?.promptTokenCount, output: e.usageMetadata?.candidatesTokenCount, error: e.error?.message,
        ...(f && { call: { at: -1, name: f.name, args: JSON.stringify(f.args ?? {}) } }),
      };
    },
  },
  Ollama: {
    path: () => 'api/chat',
    body: (q) => defined({
      model: q.model, stream: true, think: q.effort ? true : undefined, options: defined({ num_predict: longest(q), temperature: q.temperature, top_p: q.topP }),
      messages: [...(q.system ? [{ role: 'system', content: q.system }] : []), ...q.messages.map((m) => defined({ role: m.role, content: m.content || ' ', images: m.media?.length ? m.media.filter((x) => x.kind === 'image').map((x) => x.data) : undefined }))],
      tools: q.tools?.length ? q.tools.map((t) => ({ type: 'function', function: { name: t.name, description: t.description, parameters: schema(t) } })) : undefined,
    }),
    read: (e) => {
      const f = e.message?.tool_calls?.[0]?.function;
      return {
        text: e.message?.content ?? '', thinking: e.message?.thinking ?? '', input: e.prompt_eval_count, output: e.eval_count, error: typeof e.error === 'string' ? e.error : undefined,
        ...(f && { call: { at: -1, name: f.name, args: JSON.stringify(f.arguments ?? {}) } }),
      };
    },
  },
} satisfies Record<string, Dialect>;

/** Formats whose requests have no place for sound. */
export const deaf: readonly Format[] = ['Anthropic', 'Ollama'];

/** What is sent for a question: to be copied. */
export function requestOf(q: Question): { path: string; body: Record<string, unknown> } {
  const dialect: Dialect = formats[q.format ?? 'OpenAI Chat'];
  return { path: dialect.path(q), body: dialect.body(q) };
}

// Models are asked as the server's own internal caller: whoever may use the dashboard needs no client key. Kept in memory only.
let pass: Promise<string> | null = null;

function internalToken(): Promise<string> {
  pass ??= take(api.GET('/admin/api/internal-token')).then((answer) => answer.token);
  pass.catch(() => { pass = null; });
  return pass;
}

/** The JSON texts of a stream, whether of events or of lines. */
async function* pieces(response: Response, body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  if (!response.headers.get('content-type')?.includes('ndjson')) {
    for await (const { data } of events(body)) if (data !== '[DONE]') yield data;
    return;
  }
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    const parts = (rest + (value ?? '')).split('\n');
    rest = done ? '' : (parts.pop() ?? '');
    for (const part of parts) if (part.trim()) yield part;
    if (done) return;
  }
}

/** The whole answer; onText sees it grow. Throws an ApiError, or what the stream itself reports. */
export async function ask(q: Question): Promise<Answer> {
  const dialect: Dialect = formats[q.format ?? 'OpenAI Chat'];
  const token = await internalToken();
  const begun = performance.now();
  const since = () => Math.round((performance.now() - begun) * 1000);
  const response = await fetch(new URL(dialect.path(q), apiUrl), {
    method: 'POST', credentials: 'omit', ...(q.signal && { signal: q.signal }),
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` }, body: JSON.stringify(dialect.body(q)),
  });
  if (response.status === 401) pass = null; // the server was started anew
  const requestId = response.headers.get('x-request-id') ?? '';
  if (!response.ok || !response.body) throw new ApiError(response.status, await response.json().catch(() => null), requestId);
  let answer: Answer = { text: '', thinking: '', calls: [], requestId, firstUs: -1, totalUs: -1, input: null, output: null, costUsd: null };
  const calls = new Map<number, ToolCall>();
  for await (const data of pieces(response, response.body)) {
    const piece = dialect.read(JSON.parse(data) as Record<string, any>);
    if (piece.error) throw new Error(piece.error);
    if (piece.call) {
      const at = piece.call.at >= 0 ? piece.call.at : 1000 + calls.size;
      const old = calls.get(at) ?? { name: '', args: '' };
      calls.set(at, { name: piece.call.name ?? old.name, args: old.args + (piece.call.args ?? '') });
    }
    const hasMore = Boolean(piece.text || piece.thinking || piece.call);
    answer = {
      ...answer, text: answer.text + (piece.text ?? ''), thinking: answer.thinking + (piece.thinking ?? ''), calls: piece.call ? [...calls.values()] : answer.calls,
      input: piece.input ?? answer.input, output: piece.output ?? answer.output, firstUs: answer.firstUs < 0 && hasMore ? since() : answer.firstUs, totalUs: since(),
    };
    q.onText?.(answer);
  }
  return { ...answer, totalUs: since() };
}
