// Asks a model as a client would, in a client's format, over the same paths that clients use; the answer is read as it comes.
import { ApiError, api, apiUrl, take } from './client';

export interface Message { role: 'user' | 'assistant'; content: string }
export interface Question {
  model: string; messages: Message[]; system?: string; maxTokens?: number; format?: Format; signal?: AbortSignal;
  onText?: (answer: Answer) => void;
}
export interface Answer { text: string; thinking: string; requestId: string; firstUs: number; totalUs: number; input: number | null; output: number | null }
export type Format = keyof typeof formats;

interface Piece { text?: string; thinking?: string; input?: number; output?: number; error?: string }
interface Dialect { path: (q: Question) => string; body: (q: Question) => unknown; read: (event: Record<string, any>) => Piece }

const longest = (q: Question) => q.maxTokens ?? 2048;

// How each format says the same, both ways. Only what the playground shows is read.
export const formats = {
  'OpenAI Chat': {
    path: () => 'v1/chat/completions',
    body: (q) => ({
      model: q.model, stream: true, stream_options: { include_usage: true }, max_tokens: longest(q),
      messages: [...(q.system ? [{ role: 'system', content: q.system }] : []), ...q.messages],
    }),
    read: (e) => ({
      text: e.choices?.[0]?.delta?.content ?? '', thinking: e.choices?.[0]?.delta?.reasoning_content ?? '',
      input: e.usage?.prompt_tokens, output: e.usage?.completion_tokens, error: e.error?.message,
    }),
  },
  'OpenAI Responses': {
    path: () => 'v1/responses',
    body: (q) => ({ model: q.model, stream: true, store: false, max_output_tokens: longest(q), input: q.messages, ...(q.system && { instructions: q.system }) }),
    read: (e) => ({
      text: e.type === 'response.output_text.delta' ? e.delta : '',
      thinking: e.type === 'response.reasoning_text.delta' || e.type === 'response.reasoning_summary_text.delta' ? e.delta : '',
      input: e.response?.usage?.input_tokens, output: e.response?.usage?.output_tokens,
      error: e.type === 'error' ? e.message : e.response?.error?.message,
    }),
  },
  Anthropic: {
    path: () => 'v1/messages',
    body: (q) => ({ model: q.model, stream: true, max_tokens: longest(q), messages: q.messages, ...(q.system && { system: q.system }) }),
    read: (e) => ({
      text: e.delta?.text ?? '', thinking: e.delta?.thinking ?? '', input: e.message?.usage?.input_tokens, output: e.usage?.output_tokens,
      error: e.type === 'error' ? e.error?.message : undefined,
    }),
  },
  Google: {
    path: (q) => `v1beta/models/${encodeURIComponent(q.model)}:streamGenerateContent?alt=sse`,
    body: (q) => ({
      contents: q.messages.map((m) => ({ role: m.role === 'user' ? 'user' : 'model', parts: [{ text: m.content }] })),
      generationConfig: { maxOutputTokens: longest(q) }, ...(q.system && { systemInstruction: { parts: [{ text: q.system }] } }),
    }),
    read: (e) => {
      const parts: { text?: string; thought?: boolean }[] = e.candidates?.[0]?.content?.parts ?? [];
      const join = (isThought: boolean) => parts.filter((p) => Boolean(p.thought) === isThought).map((p) => p.text ?? '').join('');
      return { text: join(false), thinking: join(true), input: e.usageMetadata?.promptTokenCount, output: e.usageMetadata?.candidatesTokenCount, error: e.error?.message };
    },
  },
} satisfies Record<string, Dialect>;

// Models are asked as the server's own internal caller: whoever may use the dashboard needs no client key. Kept in memory only.
let pass: Promise<string> | null = null;

function internalToken(): Promise<string> {
  pass ??= take(api.GET('/admin/api/internal-token')).then((answer) => answer.token);
  pass.catch(() => { pass = null; });
  return pass;
}

/** The data of each server-sent event; what is cut off by the end of the stream is no event. */
async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r?\n\r?\n/);
    rest = parts.pop() ?? '';
    for (const part of parts) {
      const data = part.split(/\r?\n/).filter((l) => l.startsWith('data:')).map((l) => l.slice(5).trimStart()).join('\n');
      if (data && data !== '[DONE]') yield data;
    }
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
  let answer: Answer = { text: '', thinking: '', requestId, firstUs: -1, totalUs: -1, input: null, output: null };
  for await (const data of events(response.body)) {
    const piece = dialect.read(JSON.parse(data) as Record<string, any>);
    if (piece.error) throw new Error(piece.error);
    const hasMore = Boolean(piece.text || piece.thinking);
    answer = {
      ...answer, text: answer.text + (piece.text ?? ''), thinking: answer.thinking + (piece.thinking ?? ''),
      input: piece.input ?? answer.input, output: piece.output ?? answer.output, firstUs: answer.firstUs < 0 && hasMore ? since() : answer.firstUs, totalUs: since(),
    };
    q.onText?.(answer);
  }
  return { ...answer, totalUs: since() };
}
